//! Whether standard output and standard error were open at the start of the process.
//!
//! Rust's runtime opens `/dev/null` in the place of a closed descriptor before `main`: a write to it succeeds
//! and is lost. Afterwards a closed descriptor cannot be distinguished from a redirection to `/dev/null`. So
//! the check runs earlier: the loader calls the functions of `.init_array` before the runtime.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::fcntl_getfd;
use rustix::stdio;

static STANDARD_OUTPUT: AtomicBool = AtomicBool::new(false);
static STANDARD_ERROR: AtomicBool = AtomicBool::new(false);

#[used]
#[expect(
    unsafe_code,
    reason = "the only way to run before Rust's runtime; what runs makes two system calls and needs nothing of it"
)]
#[unsafe(link_section = ".init_array")]
static BEFORE_THE_RUNTIME: extern "C" fn() = look;

/// Whether standard output was closed at the start of the process.
pub fn was_standard_output_closed() -> bool {
    STANDARD_OUTPUT.load(Ordering::Relaxed)
}

/// Whether standard error was closed at the start of the process.
pub fn was_standard_error_closed() -> bool {
    STANDARD_ERROR.load(Ordering::Relaxed)
}

extern "C" fn look() {
    STANDARD_OUTPUT.store(fcntl_getfd(stdio::stdout()).is_err(), Ordering::Relaxed);
    STANDARD_ERROR.store(fcntl_getfd(stdio::stderr()).is_err(), Ordering::Relaxed);
}
