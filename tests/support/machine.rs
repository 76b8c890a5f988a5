//! A real systemd as PID 1 in a container (nspawn.sh), and the output of a script in it.

use std::path::Path;
use std::process::Command;

/// Functions for every script. The test reads the lines `seen NAME …`.
const FUNCTIONS: &str = r#"
seen() { local name=$1; shift; echo "seen $name $("$@" | tr '\n' ' ')"; }
status() { systemctl show opwatch --property=ActiveState,User,NRestarts,ExecMainStatus,Result; }
settled() { for _ in $(seq 100); do [ "$(systemctl show opwatch --property=ActiveState --value)" = "$1" ] && return; sleep 0.1; done; }
told() { journalctl --quiet --output=json MESSAGE_ID=053e0b96e04547b7b376602525e0a207 OPWATCH_TASK="$1"; }
eventually() { for _ in $(seq 200); do [ -n "$("$@")" ] && return; sleep 0.1; done; }
sudo() { "$@"; }
"#;

/// The files of a machine, in `/test` of it.
pub struct Machine(tempfile::TempDir);

impl Machine {
    /// A machine with the built program and the shipped files for systemd.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .arg("-r")
            .args([env!("CARGO_BIN_EXE_opwatch"), "systemd"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(copied.success());
        Self(folder)
    }

    /// The place of a file outside of the machine.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file into `/test`.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Boots the machine, runs that script as root, and returns its output.
    pub fn run(&self, script: &str) -> Seen {
        self.write("inside.sh", &format!("{FUNCTIONS}{script}"));
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nspawn");
        let ended = Command::new("tests/support/nspawn.sh").args([&cache, self.0.path()]).output().unwrap();
        let output =
            format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{output}");
        Seen(output)
    }
}

/// The output of a script.
pub struct Seen(String);

impl Seen {
    /// Each name has a line with each of those parts.
    pub fn has(&self, expected: &[(&str, &[&str])]) {
        for (name, parts) in expected {
            let line = self.line(name);
            assert!(parts.iter().all(|part| line.contains(part)), "{line}\n{}", self.0);
        }
    }

    /// The line of that name.
    pub fn line(&self, name: &str) -> &str {
        let found = self.0.lines().find(|line| line.starts_with(&format!("seen {name} ")));
        found.unwrap_or_else(|| panic!("{name}: {}", self.0))
    }
}
