//! Notifications to systemd, and the files that are shipped for it.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use opwatch::sim::{Scenario, SimResponse};
use tokio::process::Child;

use crate::docs;
use crate::support::machine::Machine;
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

#[test]
fn the_exposure_is_low_and_lower_with_the_drop_in() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("opwatch.service");
    std::fs::copy("systemd/opwatch.service", &unit).unwrap();
    // The threshold is in tenths.
    let holds = |threshold: &str| {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager", "--threshold", threshold]).arg(&unit);
        let rated = analyze.output().unwrap();
        assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
    };
    holds("30");
    let drop_ins = folder.path().join("opwatch.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::copy("systemd/hardening.conf", drop_ins.join("hardening.conf")).unwrap();
    holds("15");
}

/// The script on a real systemd; each `seen NAME …` line is checked below.
const INSIDE: &str = r#"
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
systemctl reload opwatch || seen reload_failed echo refused
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

printf '[Service]\nWatchdogSec=2s\nTimeoutStopSec=5s\n' >/etc/systemd/system/opwatch.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart opwatch
systemctl kill --signal=STOP --kill-whom=main opwatch
eventually journalctl --quiet --output=cat --grep='Watchdog timeout' --unit=opwatch
eventually sh -c 'systemctl show --property=NRestarts opwatch | grep =1'
settled active
seen watchdog status
"#;

#[test]
#[ignore = "boots systemd in a container, which takes root and a Debian mirror: tests/run --all"]
fn installed_as_in_the_readme_it_starts_delivers_survives_a_kill_and_stops() {
    let machine = Machine::new();
    let write = |name: &str, text: &str| machine.write(name, text);
    let program = docs::block("README.md", "sh", "sudo install").replace("cargo build --release\n", "");
    write("install.sh", &(program + &docs::block("docs/systemd.md", "sh", "systemctl enable")));
    write("credential.conf", &docs::block("docs/systemd.md", "ini", "LoadCredential"));
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
    machine.run(INSIDE).has(&[
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
        ("reloaded", &["ActiveState=active", "1 open, 1 ended"]),
        ("reload_failed", &["refused"]),
        ("refused_reload", &["ActiveState=active", "reload refused: /etc/opwatch/opwatch.toml:"]),
        ("restarted", &["ActiveState=active", "NRestarts=1"]),
        ("stopped", &["ActiveState=inactive", "ExecMainStatus=0", "Result=success"]),
        ("refused", &["ActiveState=failed", "ExecMainStatus=2", "NRestarts=0"]),
        ("credential", &["ActiveState=active", "Result=success"]),
        ("watchdog", &["ActiveState=active", "NRestarts=1"]),
    ]);
}

/// The unit alone, then with the drop-in, and a refused start.
const SANDBOX: &str = r#"
mkdir -p target/release
cp opwatch target/release/
install -m 755 on-done mail /usr/bin/
grep -qs localhost /etc/hosts || echo 127.0.0.1 localhost >>/etc/hosts
listening() { until (: >/dev/tcp/127.0.0.1/"$1") 2>/dev/null; do sleep 0.1; done; }
serve() { systemd-run --quiet --unit="$1" socat "OPENSSL-LISTEN:$2,bind=127.0.0.1,cert=/test/me.pem,key=/test/me.key,verify=0,fork,reuseaddr" "$3"; }
systemd-run --quiet --unit=sim /test/opwatch sim --scenario /test/scenario.toml --listen 127.0.0.1:9465
serve cloud 9443 TCP:127.0.0.1:9465
serve hook 8443 EXEC:/test/hook
for port in 9465 9443 8443; do listening $port; done
seen_by_programs() { cat /var/lib/opwatch/program; }
# The results of a task reach every sink.
delivered() { for _ in $(seq 300); do grep -qs "bm/$1" /var/lib/opwatch/program && grep -qs "bm/$1" hooks && return; sleep 0.1; done; journalctl --output=verbose --unit=opwatch | grep -e MESSAGE= -e ERROR; }
touch hooks
. ./install.sh
delivered 1
seen alone status
seen program_alone seen_by_programs
seen hook_alone cat hooks
rm /var/lib/opwatch/program
sed -i 's/^tasks = .*/tasks = [{ id = 1 }, { id = 2 }]/' /etc/opwatch/opwatch.toml
. ./harden.sh
delivered 2
seen hardened status
seen program_hardened seen_by_programs
seen hook_hardened cat hooks
# A container on a busy machine may have no way to kill a control group, which systemd reports and works around.
problems() { journalctl --quiet --output=cat --priority=warning --unit=opwatch | grep -v 'Failed to kill control group' || true; }
seen problems problems

install -m 644 opwatch-failed.service /etc/systemd/system/
install -m 644 on-failure.conf /etc/systemd/system/opwatch.service.d/
systemctl daemon-reload
echo nonsense >>/etc/opwatch/opwatch.toml
systemctl restart opwatch || seen refused status
for _ in $(seq 100); do grep -qs 'is not TOML' mails && break; sleep 0.1; done
seen mail cat mails
"#;

/// A program of an exec sink that writes what it can do.
const ON_DONE: &str = r#"#!/bin/sh
{
    cat
    echo
    [ -d /proc/1 ] || echo processes-hidden
    [ -r /proc/meminfo ] && echo meminfo-readable
    touch /usr/file 2>/dev/null || echo usr-readonly
    touch /tmp/file && echo tmp-writable
    echo "core-$(ulimit -c)"
    chgrp opwatch /tmp/file 2>/dev/null && echo owner-changed
    [ "$(nice -n 5 nice 2>/dev/null)" = 5 ] && echo nice-possible
} >>/var/lib/opwatch/program
exit 0
"#;

/// A webhook receiver for one connection of socat, with the body in `hooks`.
const HOOK: &str = r#"#!/bin/bash
while IFS= read -r line && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in content-length:*) length=${line##* } ;; esac
done
head -c "$length" >>/test/hooks
printf 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'
"#;

#[test]
#[ignore = "boots systemd in a container, which takes root and a Debian mirror: tests/run --all"]
fn https_exec_and_sqlite_work_in_the_sandbox_with_the_drop_in_and_a_refused_start_is_reported() {
    let machine = Machine::new();
    let write = |name: &str, text: &str| machine.write(name, text);
    let certified = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"])
        .args(["-keyout", "me.key", "-out", "me.pem"])
        .current_dir(machine.path(""))
        .output()
        .expect("openssl, which tests/run installs");
    assert!(certified.status.success(), "{}", String::from_utf8_lossy(&certified.stderr));
    let program = docs::block("README.md", "sh", "sudo install").replace("cargo build --release\n", "");
    let install = docs::block("docs/systemd.md", "sh", "systemctl enable");
    write("install.sh", &(program + "install -D -m 644 me.pem /etc/opwatch/ca.pem\n" + &install));
    write("harden.sh", &docs::block("docs/systemd.md", "sh", "hardening.conf"));
    write("opwatch-failed.service", &docs::block("docs/systemd.md", "ini", "Type=oneshot"));
    write("on-failure.conf", &docs::block("docs/systemd.md", "ini", "OnFailure"));
    write("on-done", ON_DONE);
    write("hook", HOOK);
    write("mail", "#!/bin/sh\n{ echo \"$@\"; cat; } >>/test/mails\n");
    assert!(Command::new("chmod").arg("755").arg(machine.path("hook")).status().unwrap().success());
    write("secret_key", opwatch::sim::SECRET_KEY);
    write(
        "scenario.toml",
        "[[tasks]]\nid = 1\nanswers = [{ status = 1 }]\n[[tasks]]\nid = 2\nanswers = [{ status = 1 }]\n",
    );
    write(
        "opwatch.toml",
        &format!(
            "tasks = [{{ id = 1 }}]\n[accounts.default]\nregion = \"bj\"\nsecret_id = \"{}\"\nsecret_key_file = \"secret_key\"\n\
             endpoint = \"https://localhost:9443\"\nca_file = \"ca.pem\"\nrate_limit = 10\n[poll]\nerror_interval = \"1s\"\n\
             [sinks.hook]\ntype = \"webhook\"\nurl = \"https://localhost:8443/hook\"\ntls = {{ ca_file = \"ca.pem\" }}\n\
             [sinks.program]\ntype = \"exec\"\ncommand = [\"/usr/bin/on-done\"]\n",
            opwatch::sim::SECRET_ID
        ),
    );
    let seen = machine.run(SANDBOX);
    seen.has(&[
        ("alone", &["ActiveState=active", "NRestarts=0"][..]),
        (
            "program_alone",
            &[
                "bm/1",
                "processes-hidden",
                "meminfo-readable",
                "usr-readonly",
                "tmp-writable",
                "core-0",
                "owner-changed",
                "nice-possible",
            ],
        ),
        ("hook_alone", &["\"subject\":\"bm/1\""]),
        ("hardened", &["ActiveState=active", "NRestarts=0"]),
        ("program_hardened", &["bm/2", "processes-hidden", "usr-readonly", "tmp-writable", "core-0"]),
        ("hook_hardened", &["\"subject\":\"bm/2\""]),
        ("refused", &["ActiveState=failed", "ExecMainStatus=2"]),
        ("mail", &["-s opwatch failed on ", "ops@example.com", "is not TOML"]),
    ]);
    for absent in ["meminfo-readable", "owner-changed", "nice-possible"] {
        assert!(!seen.line("program_hardened").contains(absent), "{}", seen.line("program_hardened"));
    }
    assert_eq!(seen.line("problems").trim(), "seen problems");
}
