//! The Debian package and the container image, built by their commands and used as an operator does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, SimResponse, Unlisted};

use crate::docs;
use crate::stores;
use crate::support::cloud;
use crate::support::machine::Machine;

/// The command succeeds; its output.
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// Builds the package with the program of this test, as that version.
fn package(version: &str, place: &Path) {
    let mut build = Command::new("packaging/deb");
    build.args(["--program", env!("CARGO_BIN_EXE_opwatch"), "--fast", "--deb-version", version]);
    let built = done(build.env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR")));
    fs::copy(built.trim(), place).unwrap();
}

/// An operator installs, configures, upgrades, removes and purges.
const LIFE: &str = r#"
version() { dpkg-query --showformat='${Version} ${db:Status-Abbrev}' --show opwatch 2>&1; }
pid() { systemctl show opwatch --property=MainPID --value; }
events() { cat /var/log/opwatch/events.jsonl; }
found() { ls -d "$@" 2>/dev/null; true; }
state() { systemctl is-enabled opwatch; systemctl is-active opwatch; true; }

# A boot starts the services that this target wants.
boot() { systemctl start --no-block multi-user.target; sleep 2; }

dpkg --install old.deb </dev/null
seen installed state
seen user getent passwd opwatch
seen files found /usr/bin/opwatch /usr/share/man/man1/opwatch.1.gz /usr/share/bash-completion/completions/opwatch \
    /usr/share/zsh/vendor-completions/_opwatch /usr/share/fish/vendor_completions.d/opwatch.fish
seen owners stat --format='%U:%G:%a:%n' /etc/opwatch /etc/opwatch/opwatch.toml
boot
seen unconfigured systemctl show opwatch --property=ActiveState,Result
seen reason journalctl --quiet --output=cat --unit=opwatch --grep='not started'

install -m 640 -g opwatch secret_key opwatch.toml many.tasks /etc/opwatch/
boot
seen booted state
systemd-run --quiet --unit=sim /test/opwatch sim --scenario /test/scenario.toml --listen 127.0.0.1:9465
eventually told 1
seen configured status
seen explained journalctl -x MESSAGE_ID=053e0b96e04547b7b376602525e0a207 OPWATCH_TASK=1

# In the middle of the work: some of 200 tasks have finished, and others have not.
before=$(pid)
work_began() { for _ in $(seq 300); do [ "$(grep -c . /var/log/opwatch/events.jsonl)" -ge 20 ] && break; sleep 0.1; done; }
work_began
dpkg --install new.deb </dev/null
seen in_between grep -c . /var/log/opwatch/events.jsonl
settled active
for _ in $(seq 600); do [ "$(grep -c . /var/log/opwatch/events.jsonl)" -ge 201 ] && break; sleep 0.1; done
seen upgraded status
[ "$before" = "$(pid)" ] || seen restarted version
cmp opwatch.toml /etc/opwatch/opwatch.toml && seen kept found /etc/opwatch/opwatch.toml
seen known journalctl --quiet --output=verbose --grep='tasks registered' --unit=opwatch --lines=1

# A stopped service stays stopped, also with an older package.
systemctl stop opwatch sim
seen events_before events
dpkg --install old.deb </dev/null
seen downgraded state

# The store of an earlier version, over which a program runs at the moment of the upgrade.
rm /var/lib/opwatch/*
install -m 600 -o opwatch -g opwatch kept.db /var/lib/opwatch/opwatch.db
install -m 640 -g opwatch kept.toml /etc/opwatch/opwatch.toml
install -m 640 -g opwatch list.tasks /etc/opwatch/list.tasks
mkdir -p /run/systemd/system/opwatch.service.d
printf '[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep infinity\n' >/run/systemd/system/opwatch.service.d/earlier.conf
systemctl daemon-reload
systemctl start opwatch
seen earlier state
rm /run/systemd/system/opwatch.service.d/earlier.conf
dpkg --install new.deb </dev/null
settled active
seen opened status
seen registered journalctl --quiet --output=verbose --grep='tasks registered' --unit=opwatch --lines=1
systemctl stop opwatch
cp /var/lib/opwatch/opwatch.db after.db

dpkg --remove opwatch
seen removed version
seen stays found /var/lib/opwatch/opwatch.db /etc/opwatch/opwatch.toml /var/log/opwatch/events.jsonl
seen gone found /usr/bin/opwatch /usr/lib/systemd/system/opwatch.service
dpkg --install new.deb </dev/null
seen again state
systemctl start opwatch
seen again_active status
dpkg --purge opwatch
seen purged found /etc/opwatch /var/lib/opwatch /var/log/opwatch /run/opwatch /etc/systemd/system/opwatch.service \
    /etc/systemd/system/multi-user.target.wants/opwatch.service /usr/share/opwatch
seen no_user getent passwd opwatch || echo "seen no_user "
seen no_group getent group opwatch || echo "seen no_group "
"#;

#[test]
#[ignore = "builds packages and boots systemd in a container, which takes root and a Debian mirror: tests/run --all"]
fn the_package_installs_upgrades_with_the_store_of_an_earlier_version_removes_and_purges() {
    let machine = Machine::new();
    package("0.0.9-1", &machine.path("old.deb"));
    package("0.1.0-1", &machine.path("new.deb"));
    machine.write("secret_key", SECRET_KEY);
    machine.write(
        "scenario.toml",
        "[default]\nanswers = [{ status = 4 }, { status = 1 }]\n\
         [[tasks]]\nid = 1\nanswers = [{ status = 1 }]\n[[tasks]]\nid = 2\nanswers = [{ status = 4 }]\n",
    );
    machine.write("many.tasks", &(101..301).map(|id| format!("{id}\n")).collect::<String>());
    machine.write(
        "opwatch.toml",
        &format!(
            "task_files = [\"many.tasks\"]\ntasks = [{{ id = 1 }}, {{ id = 2 }}]\n[accounts.default]\nregion = \"bj\"\nsecret_id = \"{}\"\nsecret_key_file = \"secret_key\"\n\
             endpoint = \"http://127.0.0.1:9465\"\nrate_limit = 50\n[poll]\nerror_interval = \"1s\"\n\
             [sinks.audit]\ntype = \"file\"\npath = \"/var/log/opwatch/events.jsonl\"\n",
            SECRET_ID
        ),
    );
    // The cloud cannot be reached there, and the folder of the sink `later` is still missing: nothing but the opening
    // changes the store.
    let (kept, before) = stores::kept().into_iter().next().unwrap();
    fs::copy(kept, machine.path("kept.db")).unwrap();
    let configuration = fs::read_to_string("tests/stores/opwatch.toml").unwrap();
    let configuration = configuration
        .replace("\"sqlite:opwatch.db\"", "\"sqlite:/var/lib/opwatch/opwatch.db\"")
        .replace("path = \"", "path = \"/var/log/opwatch/")
        .replace("rate_limit", "endpoint = \"http://127.0.0.1:1\"\nrate_limit");
    machine.write("kept.toml", &configuration);
    fs::copy("tests/stores/list.tasks", machine.path("list.tasks")).unwrap();

    let seen = machine.run(LIFE);
    seen.has(&[
        ("installed", &["enabled inactive"][..]),
        ("user", &["opwatch:x:", ":/var/lib/opwatch:/usr/sbin/nologin"]),
        ("files", &["/usr/bin/opwatch", "opwatch.1.gz", "completions/opwatch", "_opwatch", "opwatch.fish"]),
        ("owners", &["root:opwatch:750:/etc/opwatch ", "root:opwatch:640:/etc/opwatch/opwatch.toml"]),
        ("unconfigured", &["ActiveState=inactive"]),
        ("reason", &["/etc/opwatch/opwatch.toml is unchanged since the installation"]),
        ("booted", &["enabled active"]),
        ("configured", &["ActiveState=active", "User=opwatch", "NRestarts=0"]),
        ("explained", &["Task 1 finished: success"]),
        ("upgraded", &["ActiveState=active", "NRestarts=0", "Result=success"]),
        ("restarted", &["0.1.0-1 ii"]),
        ("kept", &["/etc/opwatch/opwatch.toml"]),
        ("known", &["NEW=0"]),
        ("events_before", &["\"subject\":\"bm/1\""]),
        ("downgraded", &["enabled inactive"]),
        ("earlier", &["enabled active"]),
        ("opened", &["ActiveState=active", "NRestarts=0"]),
        ("registered", &["NEW=0"]),
        ("removed", &["rc"]),
        (
            "stays",
            &["/var/lib/opwatch/opwatch.db", "/etc/opwatch/opwatch.toml", "/var/log/opwatch/events.jsonl"],
        ),
        ("again", &["enabled inactive"]),
        ("again_active", &["ActiveState=active"]),
    ]);
    let in_between: u32 =
        seen.line("in_between").trim_start_matches("seen in_between").trim().parse().unwrap();
    assert!((20..201).contains(&in_between), "finished at the upgrade: {in_between}");
    let events = seen.line("events_before");
    for id in (101..301).chain([1]) {
        assert_eq!(events.matches(&format!("\"subject\":\"bm/{id}\"")).count(), 1, "{id}");
    }
    for name in ["gone", "purged", "no_user", "no_group"] {
        assert_eq!(seen.line(name).trim(), format!("seen {name}"));
    }
    let after = stores::contents(&machine.path("after.db"));
    let lost: BTreeSet<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Images and containers in a folder of their own, gone when dropped.
struct Containers(tempfile::TempDir);

impl Containers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            place("store"),
            place("run")
        );
        fs::write(folder.path().join("storage.conf"), storage).unwrap();
        // These settings also work inside of a container: no systemd, no higher limits, mixed control groups.
        let engine = format!(
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             tmp_dir = {:?}\nstatic_dir = {:?}\nvolume_path = {:?}\n",
            place("tmp"),
            place("static"),
            place("volumes")
        );
        fs::write(folder.path().join("containers.conf"), engine).unwrap();
        Self(folder)
    }

    /// A shell line with these images and containers, in that folder.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-euc", line]).current_dir(self.0.path());
        command.env("CONTAINERS_STORAGE_CONF", self.0.path().join("storage.conf"));
        command.env("CONTAINERS_CONF", self.0.path().join("containers.conf"));
        command
    }

    /// The log, once it has that text.
    fn log_with(&self, text: &str) -> String {
        for _ in 0..300 {
            let output = self.shell("podman logs opwatch 2>&1").output().unwrap();
            let log = String::from_utf8_lossy(&output.stdout).into_owned();
            if log.contains(text) {
                return log;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the log has no {text}: {}", done(&mut self.shell("podman logs opwatch 2>&1")));
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let _ = self.shell("podman rm --force --all --time 1; podman rmi --force --all").output();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds an image, which takes root and a Debian mirror: tests/run --all"]
async fn the_image_runs_without_root_keeps_its_state_in_the_volume_and_stops_in_time() {
    let scenario = Scenario::default().with_task(1, [SimResponse::status(1)]);
    let unlisted = Unlisted::Follows(vec![SimResponse::status(4)]);
    let cloud = cloud(Scenario { unlisted, ..scenario }).await;
    let containers = Containers::new();
    let image = std::env::current_dir().unwrap().join("packaging/image");
    let program = env!("CARGO_BIN_EXE_opwatch");
    done(&mut containers.shell(&format!("{} --program {program}", image.display())));

    let folder = containers.0.path();
    fs::create_dir(folder.join("etc")).unwrap();
    let configuration = format!(
        "tasks = [{{ id = 1 }}, {{ id = 2 }}]\n[accounts.default]\nregion = \"bj\"\nsecret_id = \"{SECRET_ID}\"\n\
         secret_key_file = \"secret_key\"\nendpoint = \"{}\"\nrate_limit = 10\n\
         [sinks.program]\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >>/var/lib/opwatch/program\"]\n",
        cloud.endpoint()
    );
    fs::write(folder.join("etc/opwatch.toml"), &configuration).unwrap();
    fs::write(folder.join("secret_key"), SECRET_KEY).unwrap();
    // The simulated cloud is on the loopback device of this machine.
    let lines = docs::block("docs/packages-and-containers.md", "sh", "podman run");
    let lines = lines.replace("podman run", "podman run --network host");
    let lines = lines.replace("sudo ", "");
    done(&mut containers.shell(&lines));
    containers.log_with("\"message\":\"task finished\",\"task\":\"1\"");
    let inside = |line: &str| done(&mut containers.shell(&format!("podman exec opwatch sh -c '{line}'")));
    assert_eq!(inside("id -u; id -un; cat /proc/1/comm").trim(), "10001\nopwatch\npodman-init");
    assert_eq!(inside("touch /usr/bin/file 2>/dev/null || echo refused").trim(), "refused");
    inside("test -s /etc/ssl/certs/ca-certificates.crt; test -e /usr/share/zoneinfo/Asia/Shanghai");
    let delivered = "until grep -q bm/1 program; do sleep 0.1; done; stat -c %U:%a opwatch.db";
    assert_eq!(inside(delivered).trim(), "opwatch:600");

    fs::write(folder.join("etc/opwatch.toml"), configuration.replace("{ id = 2 }", "{ id = 2 }, { id = 3 }"))
        .unwrap();
    done(&mut containers.shell("podman exec opwatch opwatch reload"));
    assert!(done(&mut containers.shell("podman exec opwatch opwatch status")).contains("open"));
    containers.log_with("configuration reloaded");

    // The daemon ends by itself: after a kill the code would be 137.
    done(&mut containers.shell("podman stop --time 30 opwatch"));
    let ended = done(&mut containers.shell("podman inspect --format '{{.State.ExitCode}}' opwatch"));
    assert_eq!(ended.trim(), "0");
    done(&mut containers.shell("podman rm opwatch"));
    done(&mut containers.shell(lines.split_once('\n').unwrap().1));
    let log = containers.log_with("\"message\":\"watching\"");
    assert!(log.contains("\"new\":0,\"known\":2,\"over\":1"), "{log}");
}

#[test]
#[ignore = "builds without the dependencies of the tests: tests/run --all"]
fn cargo_install_installs_the_program() {
    let root = tempfile::tempdir().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let line = docs::block("docs/packages-and-containers.md", "sh", "cargo install");
    // The unoptimized build is there already.
    let line = line.trim().replace("cargo install", "cargo install --debug --offline --root \"$ROOT\"");
    let mut install = Command::new("sh");
    done(install.args(["-euc", &line]).env("ROOT", root.path()).env("CARGO_TARGET_DIR", target));
    let version = done(Command::new(root.path().join("bin/opwatch")).arg("--version"));
    assert_eq!(version.trim(), concat!("opwatch ", env!("CARGO_PKG_VERSION")));
}
