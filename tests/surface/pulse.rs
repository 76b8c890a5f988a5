//! The progress of the daemon, for systemd's watchdog and for a monitor.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};

use crate::support::receiver::{Receiver, ReceiverResponse};
use crate::support::{Home, cloud, eventually, output_of, signal};

#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_is_requested_at_the_start_and_for_as_long_as_the_daemon_makes_progress() {
    let receiver = Receiver::start().await;
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let heartbeat =
        format!("[heartbeat]\nurl = \"http://{}/ping/a-secret-check\"\nevery = \"1s\"", receiver.addr);
    let home = Home::new(&cloud, &heartbeat);
    home.list([1]);
    receiver.respond_next([ReceiverResponse::status(404)]);
    let daemon = home.start();
    eventually("it pings", || receiver.got().len() >= 3).await;
    signal(&daemon, "TERM");
    let ended = output_of(daemon).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let paths: Vec<_> = receiver.got().iter().map(|got| got.target.clone()).collect();
    assert_eq!(paths[..2], ["/ping/a-secret-check/start", "/ping/a-secret-check"]);
    assert!(ended.stderr.contains("HTTP 404") && ended.stderr.contains("accepted again"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("a-secret-check"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_served_while_another_process_locks_the_store() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml"]);
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", "400000");
    let daemon = command.spawn().unwrap();
    let beat = |socket: &UnixDatagram| {
        let mut buffer = [0; 512];
        loop {
            let size = socket.recv(&mut buffer).expect("a notification");
            if buffer[..size].starts_with(b"WATCHDOG=1") {
                return;
            }
        }
    };
    beat(&socket);
    let lock = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    cloud.set_responses("1", [SimResponse::status(1)]);
    for _ in 0..6 {
        beat(&socket);
    }
    assert!(home.events().is_empty(), "the end waits for the lock");
    lock.execute_batch("ROLLBACK").unwrap();
    eventually("the end is stored", || home.events().len() == 1).await;
    signal(&daemon, "TERM");
    let ended = output_of(daemon).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
