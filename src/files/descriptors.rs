//! The limit of open descriptors: raised for the daemon, and as before for the programs that it starts.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit of the process before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one: each connection needs a descriptor. A system that refuses keeps its limit.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        // Only the first limit is that of the process.
        let _ = BEFORE.set(before);
    }
}

/// Gives a program that was started the limit from before: many programs close every possible descriptor, and some use
/// only numbers below 1024.
pub fn restore(program: Pid) {
    if let Some(before) = BEFORE.get() {
        // A program that has ended needs no limit.
        let _ = prlimit(Some(program), Resource::Nofile, *before);
    }
}
