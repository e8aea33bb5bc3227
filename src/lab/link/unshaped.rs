//! A link without limits: the kernel moves bytes between the sockets through a pipe (`splice`), and
//! this module counts them.

use super::flow::Meter;
use base::clock::monotonic_ns;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe;
use record::Flow;
use socket2::Socket;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

/// Size of the pipe in bytes, and the maximum moved at a time. It is the default limit of an
/// unprivileged process (fs.pipe-max-size).
const PIPE_BYTES: i32 = 1 << 20;

/// Callback that receives the traffic.
pub(super) type ReportFlows = Arc<dyn Fn(Vec<Flow>) + Send + Sync>;

/// Moves all bytes from one socket to the other until the stream ends. Returns their number.
pub(super) fn forward(from: &Socket, to: &Socket, meter: Meter, report: &ReportFlows) -> u64 {
    let bytes = match move_bytes(from, to, meter, report) {
        Ok(bytes) => bytes,
        Err((bytes, _)) => {
            // The receiver is gone. Close the connection to the sender too.
            let _ = from.shutdown(Shutdown::Both);
            bytes
        }
    };
    let _ = to.shutdown(Shutdown::Write);
    bytes
}

fn move_bytes(
    from: &Socket,
    to: &Socket,
    mut meter: Meter,
    report: &ReportFlows,
) -> Result<u64, (u64, io::Error)> {
    let (out, inside) = pipe().map_err(|error| (0, error.into()))?;
    // If the limit is lower, the pipe keeps its default size.
    let _ = fcntl(&inside, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let (max, flags) = (usize::try_from(PIPE_BYTES).unwrap_or(0), SpliceFFlags::SPLICE_F_MOVE);
    let tcp = super::is_tcp(from);
    loop {
        let failed = |meter: &Meter, error: nix::Error| (meter.total(), error.into());
        let mut left = match splice(from, None, &inside, None, max, flags) {
            Ok(0) => break,
            Ok(n) => n,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(failed(&meter, error)),
        };
        if tcp {
            super::acknowledge(from);
        }
        if let Some(flow) = meter.add(left as u64, 0, monotonic_ns()) {
            report(vec![flow]);
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
        report(vec![flow]);
    }
    Ok(meter.total())
}
