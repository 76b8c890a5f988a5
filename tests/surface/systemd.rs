//! What systemd is told, and the files that are shipped for it.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use opwatch::sim::{Answer, Scenario};

use crate::support::{Home, cloud, said, signal};

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_ready_once_the_tasks_are_registered_and_stopping_at_the_end() {
    let cloud = cloud(Scenario::default().with_task(1, [Answer::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let child = home.opwatch(&["run", "-c", "opwatch.toml"]).env("NOTIFY_SOCKET", home.path("notify")).spawn().unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    assert_eq!(heard(), "READY=1");
    let registered = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    assert_eq!(registered.query_row("SELECT count(*) FROM task", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    signal(&child, "TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(said(child).await.code, Some(0));
}

#[test]
fn the_unit_verifies() {
    let unit = std::fs::read_to_string("systemd/opwatch.service").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("opwatch.service");
    // Verifying looks for the program, which is not installed here.
    std::fs::write(&file, unit.replace("/usr/bin/opwatch", env!("CARGO_BIN_EXE_opwatch"))).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("systemd-analyze, which tests/run installs");
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", String::from_utf8_lossy(&verified.stderr));
}
