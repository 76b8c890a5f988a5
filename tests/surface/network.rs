//! `proxy` and `ca_file`: what stands between the program and the cloud.

use opwatch::sim::{Answer, Scenario, Sim};

use crate::support::{Home, Said, cloud, eventually, network, said, signal};

const PASSWORD: &str = "hunter2";

async fn one_task() -> Sim {
    cloud(Scenario::default().with_task(1, [Answer::status(4), Answer::status(1)])).await
}

async fn run_to_its_end(home: &Home) -> Said {
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    let ended = said(command.env("RUST_LOG", "trace").spawn().unwrap()).await;
    assert_eq!((ended.code, home.events().len()), (Some(0), 1), "{}", ended.stderr);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_of_the_account_and_its_password_is_printed_nowhere() {
    for api in ["2.0", "3.0"] {
        let cloud = one_task().await;
        let proxy = network::proxy().await;
        let home = Home::new(&cloud, "");
        home.account(&format!("api = \"{api}\"\nproxy = \"http://user:{PASSWORD}@{}\"", proxy.addr));
        home.list([1]);
        let ended = run_to_its_end(&home).await;
        let heads = proxy.heads();
        let whole = format!(" http://{}/", cloud.addr());
        assert!(!heads.is_empty() && heads.iter().all(|head| head.contains(&whole)), "{heads:?}");
        assert!(heads[0].to_lowercase().contains("proxy-authorization: basic"), "{heads:?}");
        // The second is "user:hunter2" in base64, as it is sent.
        for secret in [PASSWORD, "dXNlcjpodW50ZXIy"] {
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        }
        assert!(cloud.seen().iter().all(|seen| seen.flaw.is_none()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_to_this_machine_takes_no_proxy_of_the_environment() {
    let cloud = one_task().await;
    let proxy = network::proxy().await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    let ended = said(command.env("http_proxy", format!("http://{}", proxy.addr)).spawn().unwrap()).await;
    assert_eq!((ended.code, proxy.heads().len()), (Some(0), 0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_a_certificate_of_ca_file_is_trusted_also_through_a_tunnel_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let tls = network::tls(&certificate, cloud.addr()).await;
    let home = Home::new(&cloud, "");
    home.edit(&cloud.endpoint(), &format!("https://{}", tls.addr));
    home.list([1]);
    let child = home.start();
    eventually("the first polls fail", || tls.connections() >= 3).await;
    signal(&child, "TERM");
    let ended = said(child).await;
    assert!(ended.stderr.contains("certificate") && cloud.requests() == 0, "{}", ended.stderr);

    std::fs::copy(&certificate.ca, home.path("corp-ca.pem")).unwrap();
    let proxy = network::proxy().await;
    home.account(&format!(
        "api = \"3.0\"\nca_file = \"corp-ca.pem\"\nproxy = \"http://user:{PASSWORD}@{}\"",
        proxy.addr
    ));
    let ended = run_to_its_end(&home).await;
    let tunnel = format!("CONNECT {} ", tls.addr);
    assert!(
        !proxy.heads().is_empty() && proxy.heads().iter().all(|head| head.starts_with(&tunnel)),
        "{:?}",
        proxy.heads()
    );
    assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_lets_nobody_through_is_told_without_its_password_and_abandons_nothing() {
    let cloud = one_task().await;
    let proxy = network::closed_proxy().await;
    for (endpoint, told) in [(cloud.endpoint(), "http_407"), ("https://127.0.0.1:9".to_owned(), "connect: ")]
    {
        let home = Home::new(&cloud, "");
        home.edit(&cloud.endpoint(), &endpoint);
        home.account(&format!("proxy = \"http://user:{PASSWORD}@{}\"", proxy.addr));
        home.list([1]);
        let before = proxy.connections();
        let child = home.opwatch(&["run", "-c", "opwatch.toml"]).env("RUST_LOG", "trace").spawn().unwrap();
        eventually("some requests", || proxy.connections() >= before + 3).await;
        signal(&child, "TERM");
        let ended = said(child).await;
        assert!(ended.stderr.contains(told) && !ended.stderr.contains(PASSWORD), "{}", ended.stderr);
        assert_eq!((cloud.requests(), home.events().len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_in_ca_file_is_trusted_and_one_of_an_authority_is_told_apart() {
    for is_authority in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let certificate = network::self_signed(folder.path(), is_authority);
        let cloud = one_task().await;
        let tls = network::tls(&certificate, cloud.addr()).await;
        let home = Home::new(&cloud, "");
        home.edit(&cloud.endpoint(), &format!("https://{}", tls.addr));
        home.account("ca_file = \"corp-ca.pem\"");
        std::fs::copy(&certificate.ca, home.path("corp-ca.pem")).unwrap();
        home.list([1]);
        if is_authority {
            let stderr = std::fs::File::create(home.path("stderr")).unwrap();
            let child = home.opwatch(&["run", "-c", "opwatch.toml"]).stderr(stderr).spawn().unwrap();
            let advice = "make one with basicConstraints=CA:FALSE, and name it in `ca_file`";
            let said_so = || std::fs::read_to_string(home.path("stderr")).unwrap().contains(advice);
            eventually("the advice", said_so).await;
            signal(&child, "TERM");
            said(child).await;
            assert_eq!(cloud.requests(), 0);
        } else {
            run_to_its_end(&home).await;
        }
    }
}
