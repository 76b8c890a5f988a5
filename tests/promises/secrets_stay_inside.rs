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
    let cloud =
        cloud(Scenario { token: Some(opwatch::secret::Secret::new("the-token")), ..Scenario::default().with_task(1, faults) }).await;
    let home = Home::new(&cloud, "");
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command.env("RUST_LOG", "trace").env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator").env("TENCENTCLOUD_TOKEN", "the-token");
    let ended = said(command.env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("poll failed"), "trace shows polls: {}", ended.stderr);
    for secret in [SECRET_KEY, "the-token", "Signature="] {
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{secret} in {}", ended.stderr);
    }
}
