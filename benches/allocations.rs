//! Allocations of a poll: the daemon and the bare loop with an allocator that counts.

#![allow(unsafe_code, reason = "an allocator is unsafe by its contract, and this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::polls::{Daemon, task_file};
use crate::process::Process;
use crate::responder::{self, Counter};
use crate::row::row;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// The environment variable with the path of the counts.
const COUNTS: &str = "OPWATCH_BENCH_COUNTS";
const EVERY: Duration = Duration::from_millis(50);
const WINDOW: Duration = Duration::from_secs(3);

/// The allocator of the system, which counts what it gives.
pub struct Counting;

// SAFETY: every call is passed on unchanged to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Where the environment names a file, this process writes its count there again and again.
pub fn publish() {
    let Some(path) = std::env::var_os(COUNTS) else { return };
    std::thread::spawn(move || {
        loop {
            let new = Path::new(&path).with_extension("new");
            if fs::write(&new, COUNT.load(Ordering::Relaxed).to_string()).is_ok() {
                let _ = fs::rename(&new, &path);
            }
            std::thread::sleep(EVERY);
        }
    });
}

/// The daemon in this process, by the arguments of this process.
pub fn run_daemon() {
    let _ = opwatch::cli::main();
}

pub fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let counts = folder.path().join("counts");
    let counted = |arguments: &[&str], responder: &Counter| {
        let _process = Process::own_with(arguments, (COUNTS, &counts));
        responder.wait_for_more();
        std::thread::sleep(Duration::from_secs(1));
        let now = || -> f64 { fs::read_to_string(&counts).expect("counts").parse().expect("a number") };
        let before = (now(), responder.count());
        std::thread::sleep(WINDOW);
        let after = (now(), responder.count());
        (after.0 - before.0) / (after.1 - before.1) as f64
    };
    let responder = responder::start();
    let bare = counted(&["bare", &responder.url(), "1000"], &responder);
    let configuration = Daemon::write(folder.path(), &responder, task_file(200), "50ms", 1_000);
    let daemon = counted(&["run", "-c", configuration.to_str().expect("UTF-8")], &responder);
    row("allocations a poll, daemon", daemon, 1, "≤ 50");
    row("allocations a poll, bare loop", bare, 1, "");
}
