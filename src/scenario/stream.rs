//! Configuration of the migration stream: its transport and its sockets.

use base::units::{Bytes, Micros, Rate};
use serde::{Deserialize, Serialize};

/// The transport of the migration stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// `owned` if one channel is enough and both QEMUs are on this host (their QMP sockets are unix
    /// sockets); otherwise `unix`.
    Auto,
    /// TCP sockets that we connect and pass to the QEMUs (`getfd`, `fd:`). With a `tcp:` URI, only
    /// the source gets one.
    Owned,
    /// A unix socket that QEMU opens.
    Unix,
    /// TCP over loopback, opened by QEMU, which leaves Nagle's algorithm on.
    Tcp,
    /// A pair of unix sockets that we pass to the QEMUs.
    Fd,
    /// A process of the source that writes to a FIFO, and one of the destination that reads from
    /// it. The stream has no return path.
    Exec,
    /// A file, which the destination reads when it is complete. With the capability `mapped-ram`,
    /// each page has a fixed offset in it.
    File,
}

/// Options of the sockets that we open ourselves. An option that is `None` keeps the kernel's
/// default, except for `notsent_lowat`. TCP_NODELAY is always on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// `SO_SNDBUF`. The kernel doubles it, and no longer adapts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_buffer: Option<Bytes>,
    /// `SO_RCVBUF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_buffer: Option<Bytes>,
    /// `TCP_CONGESTION`: `cubic`, `reno`, `bbr` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
    /// `SO_MAX_PACING_RATE`: the kernel sends no faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pacing: Option<Rate>,
    /// `TCP_NOTSENT_LOWAT`; 128 KiB if `None`. The sender waits while more bytes than this are
    /// unsent, because device state and the pages that post-copy requests wait behind them. Unlike
    /// a small `send_buffer`, it does not reduce the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notsent_lowat: Option<Bytes>,
    /// `SO_KEEPALIVE`: the idle time before the first probe. Probes repeat three times as often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Micros>,
}

impl Socket {
    /// Whether no option is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Socket::default()
    }
}
