//! No secret key, token or signature in any output.

use opwatch::sim::{Answer, SECRET_KEY, Scenario};

use crate::support::{Home, cloud, said};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed_at_trace_with_every_kind_of_fault() {
    let faults = vec![
        Answer::page(502, "bad gateway"),
        Answer::cut(),
        Answer::raw("garbage"),
        Answer::refusal(4100, "signature mismatch"),
        Answer::page(302, "elsewhere"),
        Answer::status(1),
    ];
    let cloud = cloud(Scenario {
        token: Some(opwatch::secret::Secret::new("the-token")),
        ..Scenario::default().with_task(1, faults)
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command
        .env("RUST_LOG", "trace")
        .env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator")
        .env("TENCENTCLOUD_TOKEN", "the-token");
    let ended = said(command.env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("poll failed"), "trace shows polls: {}", ended.stderr);
    for secret in [SECRET_KEY, "the-token", "Signature="] {
        assert!(
            !ended.stderr.contains(secret) && !ended.stdout.contains(secret),
            "{secret} in {}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_echoes_of_a_request_is_told_without_its_token() {
    const TOKEN: &str = "tok+en/SECRET==";
    let echo = format!("{TOKEN} tok%2Ben%2FSECRET%3D%3D");
    let answers = vec![
        Answer::refusal(6000, &echo),
        Answer::raw(&format!("{{\"code\":0,\"data\":{{\"status\":\"{TOKEN}\"}}}}")),
        Answer::status(1),
    ];
    let cloud = cloud(Scenario {
        token: Some(opwatch::secret::Secret::new(TOKEN)),
        ..Scenario::default().with_task(1, answers)
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command
        .env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator")
        .env("TENCENTCLOUD_TOKEN", TOKEN)
        .env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY);
    let ended = said(command.spawn().unwrap()).await;
    assert!(ended.code == Some(0) && ended.stderr.contains("[secret]"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("SECRET"), "{}", ended.stderr);
}
