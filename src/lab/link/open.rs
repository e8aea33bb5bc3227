//! A link that shapes nothing: the kernel moves what passes from socket to socket through a pipe, and we count it.

use super::flow::Meter;
use base::clock::monotonic_ns;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe;
use record::Flow;
use socket2::Socket;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

/// Of the pipe; the most that moves at once. An unprivileged process may have this much (fs.pipe-max-size).
const PIPE: i32 = 1 << 20;

/// Where what passed is told.
pub(super) type Tell = Arc<dyn Fn(Vec<Flow>) + Send + Sync>;

/// Moves everything from one socket to the other until it ends; gives the bytes.
pub(super) fn forward(from: &Socket, to: &Socket, meter: Meter, tell: &Tell) -> u64 {
    let bytes = match moved(from, to, meter, tell) {
        Ok(bytes) => bytes,
        Err((bytes, _)) => {
            // The receiver has gone: let the sender know.
            let _ = from.shutdown(Shutdown::Both);
            bytes
        }
    };
    let _ = to.shutdown(Shutdown::Write);
    bytes
}

fn moved(
    from: &Socket,
    to: &Socket,
    mut meter: Meter,
    tell: &Tell,
) -> Result<u64, (u64, io::Error)> {
    let (out, inside) = pipe().map_err(|error| (0, error.into()))?;
    // Smaller where it may not be so large.
    let _ = fcntl(&inside, FcntlArg::F_SETPIPE_SZ(PIPE));
    let (most, flags) = (usize::try_from(PIPE).unwrap_or(0), SpliceFFlags::SPLICE_F_MOVE);
    let tcp = super::is_tcp(from);
    loop {
        let failed = |meter: &Meter, error: nix::Error| (meter.total(), error.into());
        let mut left = match splice(from, None, &inside, None, most, flags) {
            Ok(0) => break,
            Ok(n) => n,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(failed(&meter, error)),
        };
        if tcp {
            super::acknowledge(from);
        }
        if let Some(flow) = meter.add(left as u64, 0, monotonic_ns()) {
            tell(vec![flow]);
        }
        while left > 0 {
            match splice(&out, None, to, None, left, flags) {
                Ok(n) => left -= n,
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(failed(&meter, error)),
            }
        }
    }
    if let Some(flow) = meter.take() {
        tell(vec![flow]);
    }
    Ok(meter.total())
}
