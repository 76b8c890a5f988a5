//! One HTTP/1.1 connection, driven by the poll that uses it: no task and no channel is between them.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::{AnyError, ByteStream};

/// The largest head of a response, with all interim responses before it, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
/// No limit is in force.
const UNLIMITED: usize = usize::MAX;

/// The body of a request.
pub type RequestBody = Full<Bytes>;

/// A connection that is ready for one request at a time.
pub struct Exchange {
    sender: SendRequest<RequestBody>,
    driver: http1::Connection<TokioIo<Limited>, RequestBody>,
    /// The bytes that may still arrive before the head of the response.
    left: Arc<AtomicUsize>,
    /// Whether the connection has ended.
    is_closed: bool,
}

impl Exchange {
    /// HTTP over this stream.
    ///
    /// # Errors
    /// Those of hyper.
    pub async fn new(stream: Box<dyn ByteStream>) -> Result<Self, AnyError> {
        let left = Arc::new(AtomicUsize::new(UNLIMITED));
        let limited = Limited { stream, left: Arc::clone(&left) };
        let (sender, driver) =
            http1::Builder::new().max_header_size(LARGEST_HEAD).handshake(TokioIo::new(limited)).await?;
        Ok(Self { sender, driver, left, is_closed: false })
    }

    /// Sends a request. Returns the head of the response.
    ///
    /// # Errors
    /// If the connection ends, or no response of HTTP arrives.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, hyper::Error> {
        self.left.store(LARGEST_HEAD, Ordering::Relaxed);
        let sent = self.sender.send_request(request);
        let response = driven(&mut self.driver, &mut self.is_closed, sent).await;
        self.left.store(UNLIMITED, Ordering::Relaxed);
        response
    }

    /// The next part of a body; `None` at its end.
    ///
    /// # Errors
    /// If the connection ends before the body.
    pub async fn chunk(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            match driven(&mut self.driver, &mut self.is_closed, body.frame()).await {
                None => return Ok(None),
                Some(frame) => match frame?.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    // Trailers.
                    Err(_) => continue,
                },
            }
        }
    }

    /// Whether it takes another request: open, with its last response read to the end. Notices a connection that
    /// the server has closed.
    pub async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            if !self.is_closed {
                self.is_closed = Pin::new(&mut self.driver).poll(cx).is_ready();
            }
            Poll::Ready(!self.is_closed && self.sender.is_ready())
        })
        .await
    }
}

/// Drives the connection until `work` is done. An error of the connection reaches `work` through hyper.
async fn driven<T>(
    driver: &mut http1::Connection<TokioIo<Limited>, RequestBody>,
    is_closed: &mut bool,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut is_begun = false;
    poll_fn(|cx| {
        // The first turn hands over the request; later ones begin with bytes that have arrived.
        if is_begun && !*is_closed {
            *is_closed = Pin::new(&mut *driver).poll(cx).is_ready();
        }
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if is_begun {
            return Poll::Pending;
        }
        is_begun = true;
        if !*is_closed {
            *is_closed = Pin::new(&mut *driver).poll(cx).is_ready();
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// A stream that fails once too many bytes have arrived before the head of a response: interim responses have no
/// other bound.
struct Limited {
    stream: Box<dyn ByteStream>,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Limited {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.left.load(Ordering::Relaxed);
        if left == 0 {
            let what = format!(
                "more than {} KiB arrived before the headers of a response were complete",
                LARGEST_HEAD / 1024
            );
            return Poll::Ready(Err(io::Error::other(what)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if left != UNLIMITED {
            this.left.store(left.saturating_sub(buf.filled().len() - before), Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
