//! The service manager: notifications of start, stop and slow starts.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

pub use sd_notify::NotifyState;

use crate::clock::Clock;

/// Time between two requests for more time during a slow start.
const EXTENDS_EVERY: Duration = Duration::from_secs(3);
/// The extension of one request: a busy machine may pause for a while.
const EXTENDS_BY_MICROSECONDS: u32 = 30_000_000;

/// Waits for a part of a start, and extends systemd's start timeout meanwhile: a long list, a big store or
/// the lock of another process may take long.
pub async fn patiently<T>(clock: Clock, part: impl Future<Output = T>) -> T {
    let mut part = std::pin::pin!(part);
    loop {
        tokio::select! {
            done = &mut part => return done,
            () = clock.sleep_until(clock.now().steady + EXTENDS_EVERY) => notify(&[NotifyState::ExtendTimeoutUsec(EXTENDS_BY_MICROSECONDS)]),
        }
    }
}

/// Notifies systemd, where it listens.
pub fn notify(states: &[NotifyState<'_>]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, states) {
        tracing::warn!(error_message = %error, "systemd could not be notified; it may restart the daemon");
    }
}

/// Sends a notification. A name that begins with `@` is an abstract address, which sd-notify cannot use.
fn send(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}
