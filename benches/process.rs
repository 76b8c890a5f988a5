//! A measured process: its CPU and its memory as the kernel accounts them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running process, killed when dropped.
pub struct Process(pub Child);

/// The built program, with the environment of systemd/opwatch.service.
pub fn opwatch() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opwatch"));
    command.env("MALLOC_TRIM_THRESHOLD_", "131072");
    command
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::null()).stdin(Stdio::null()).spawn().expect("the measured process"))
    }

    /// This very program in another role.
    pub fn own(arguments: &[&str]) -> Self {
        Self::start(Command::new(std::env::current_exe().expect("its own path")).args(arguments))
    }

    /// The same, with an environment variable.
    pub fn own_with(arguments: &[&str], (name, value): (&str, &Path)) -> Self {
        let own = std::env::current_exe().expect("its own path");
        Self::start(Command::new(own).args(arguments).env(name, value))
    }

    /// Starts it with its standard error in a file.
    pub fn start_logged(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        Self(command.stderr(log).stdin(Stdio::null()).spawn().expect("the measured process"))
    }

    /// Stops it until [`Process::go_on`].
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Continues it.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// CPU time of all its threads so far.
    pub fn cpu_seconds(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("its threads");
        let nanoseconds = threads.map(|thread| {
            let schedstat =
                fs::read_to_string(thread.expect("a thread").path().join("schedstat")).unwrap_or_default();
            schedstat.split(' ').next().and_then(|on_cpu| on_cpu.parse::<u64>().ok()).unwrap_or_default()
        });
        nanoseconds.sum::<u64>() as f64 / 1e9
    }

    /// Anonymous memory that is resident: without the program's own text and mapped files.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

/// The most memory that a running process had resident so far.
pub fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
