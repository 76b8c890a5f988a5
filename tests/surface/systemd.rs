//! Notifications to systemd, and the files that are shipped for it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};
use tokio::process::Child;

use crate::docs;
use crate::support::{Home, cloud, output_of, signal};

/// The notifications of a daemon of that folder.
struct Notifications(UnixDatagram);

impl Notifications {
    fn bind(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(socket)
    }

    fn start(&self, home: &Home) -> Child {
        home.opwatch(&["run", "-c", "opwatch.toml"])
            .env("NOTIFY_SOCKET", home.path("notify"))
            .spawn()
            .unwrap()
    }

    fn any(&self) -> String {
        let mut bytes = [0; 256];
        let length = self.0.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }

    /// The next notification, except requests for more time: a busy machine is slow.
    fn next(&self) -> String {
        std::iter::repeat_with(|| self.any()).find(|word| !word.starts_with("EXTEND_TIMEOUT_USEC=")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_notified_when_the_tasks_are_registered_and_at_the_stop() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let heard = Notifications::bind(&home);
    let child = heard.start(&home);
    assert_eq!(heard.next(), "READY=1");
    let registered = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    assert_eq!(registered.query_row("SELECT count(*) FROM task", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    signal(&child, "TERM");
    assert_eq!(heard.next(), "STOPPING=1");
    assert_eq!(output_of(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_asked_for_more_time_while_a_start_waits_for_a_foreign_lock() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "");
    home.list([1]);
    let heard = Notifications::bind(&home);
    let foreign = rusqlite::Connection::open(home.path("opwatch.db")).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let child = heard.start(&home);
    assert_eq!([heard.any(), heard.any()], ["EXTEND_TIMEOUT_USEC=30000000"; 2]);
    foreign.execute_batch("COMMIT").unwrap();
    assert_eq!(heard.next(), "READY=1");
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_says_nothing_to_systemd() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "");
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let child = home
        .opwatch(&["wait", "1", "-c", "opwatch.toml"])
        .env("NOTIFY_SOCKET", home.path("notify"))
        .spawn()
        .unwrap();
    assert_eq!(output_of(child).await.code, Some(0));
    assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_unit_verifies() {
    let unit = std::fs::read_to_string("systemd/opwatch.service").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("opwatch.service");
    // Verifying looks for the program, which is not installed here.
    std::fs::write(&file, unit.replace("/usr/bin/opwatch", env!("CARGO_BIN_EXE_opwatch"))).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output()
        .expect("systemd-analyze, which tests/run installs");
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

/// The script on a real systemd; each `seen NAME …` line is checked below.
const INSIDE: &str = r#"
seen() { local name=$1; shift; echo "seen $name $("$@" | tr '\n' ' ')"; }
status() { systemctl show opwatch --property=ActiveState,User,NRestarts,ExecMainStatus,Result; }
settled() { for _ in $(seq 100); do [ "$(systemctl show opwatch --property=ActiveState --value)" = "$1" ] && return; sleep 0.1; done; }
told() { journalctl --quiet --output=json MESSAGE_ID=053e0b96e04547b7b376602525e0a207 OPWATCH_TASK="$1"; }
eventually() { for _ in $(seq 200); do [ -n "$("$@")" ] && return; sleep 0.1; done; }
sudo() { "$@"; }

mkdir -p target/release
cp opwatch target/release/
. ./install.sh
seen started status
systemd-run --quiet --unit=sim opwatch sim --scenario /test/scenario.toml --listen 127.0.0.1:9465
eventually told 1
seen event told 1
seen explained journalctl -x MESSAGE_ID=053e0b96e04547b7b376602525e0a207 OPWATCH_TASK=1
seen file cat /var/log/opwatch/events.jsonl
systemctl reload opwatch
eventually journalctl --quiet --output=cat --grep='configuration reloaded' --unit=opwatch
seen reloaded systemctl show --property=ActiveState,StatusText opwatch
echo nonsense >>/etc/opwatch/opwatch.toml
systemctl reload opwatch
eventually journalctl --quiet --output=cat --grep='reload refused' --unit=opwatch
seen refused_reload systemctl show --property=ActiveState,StatusText opwatch
sed -i '$d' /etc/opwatch/opwatch.toml
seen owners stat --format='%U:%G:%a:%n' /var/lib/opwatch/opwatch.db /etc/opwatch/opwatch.toml

systemctl kill --signal=KILL --kill-whom=main opwatch
eventually journalctl --quiet --output=cat --grep='restart counter is at 1' --unit=opwatch
settled active
seen restarted status
systemctl stop opwatch
seen stopped status

chown root:root /etc/opwatch/secret_key
chmod 600 /etc/opwatch/secret_key
systemctl start opwatch || seen refused status
mkdir -p /etc/systemd/system/opwatch.service.d
cp credential.conf /etc/systemd/system/opwatch.service.d/
systemctl daemon-reload
systemctl reset-failed opwatch
systemctl start opwatch
seen credential status
"#;

#[test]
#[ignore = "boots systemd in a container, which takes root and a Debian mirror: tests/run --all"]
fn installed_as_in_the_readme_it_starts_delivers_survives_a_kill_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .args([env!("CARGO_BIN_EXE_opwatch"), "systemd"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let program = docs::block("README.md", "sh", "sudo install").replace("cargo build --release\n", "");
    write("install.sh", &(program + &docs::block("docs/systemd.md", "sh", "systemctl enable")));
    write("credential.conf", &docs::block("docs/systemd.md", "ini", "LoadCredential"));
    write("inside.sh", INSIDE);
    write("secret_key", opwatch::sim::SECRET_KEY);
    write(
        "scenario.toml",
        "[[tasks]]\nid = 1\nanswers = [{ status = 1 }]\n[[tasks]]\nid = 2\nanswers = [{ status = 4 }]\n",
    );
    write(
        "opwatch.toml",
        &format!(
            "tasks = [{{ id = 1 }}, {{ id = 2 }}]\n[accounts.default]\nregion = \"bj\"\nsecret_id = \"{}\"\nsecret_key_file = \"secret_key\"\n\
             endpoint = \"http://127.0.0.1:9465\"\nrate_limit = 10\n[poll]\nerror_interval = \"1s\"\n\
             [sinks.audit]\ntype = \"file\"\npath = \"/var/log/opwatch/events.jsonl\"\n",
            opwatch::sim::SECRET_ID
        ),
    );
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nspawn");
    let ended = Command::new("tests/support/nspawn.sh").args([&cache, folder.path()]).output().unwrap();
    let output =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{output}");
    for (name, wanted) in [
        ("started", &["ActiveState=active", "User=opwatch", "NRestarts=0"][..]),
        (
            "event",
            &[
                "\"OPWATCH_OUTCOME\":\"success\"",
                "\"PRIORITY\":\"6\"",
                "\"_SYSTEMD_UNIT\":\"opwatch.service\"",
            ],
        ),
        ("explained", &["Task 1 finished: success"]),
        ("file", &["\"subject\":\"bm/1\""]),
        (
            "owners",
            &[
                "opwatch:opwatch:600:/var/lib/opwatch/opwatch.db",
                "root:opwatch:640:/etc/opwatch/opwatch.toml",
            ],
        ),
        ("reloaded", &["ActiveState=active", "1 open, 1 finished"]),
        ("refused_reload", &["ActiveState=active", "reload refused: /etc/opwatch/opwatch.toml:"]),
        ("restarted", &["ActiveState=active", "NRestarts=1"]),
        ("stopped", &["ActiveState=inactive", "ExecMainStatus=0", "Result=success"]),
        ("refused", &["ActiveState=failed", "ExecMainStatus=2", "NRestarts=0"]),
        ("credential", &["ActiveState=active", "Result=success"]),
    ] {
        let line = output
            .lines()
            .find(|line| line.starts_with(&format!("seen {name} ")))
            .unwrap_or_else(|| panic!("{name}: {output}"));
        assert!(wanted.iter().all(|wanted| line.contains(wanted)), "{line}\n{output}");
    }
}
