//! How the stream goes from one QEMU to the other, as asked for.

use base::units::{Bytes, Micros, Rate};
use serde::{Deserialize, Serialize};

/// How the stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// `owned` where one channel suffices and both QEMUs are on this host (their QMP sockets are unix sockets); else `unix`.
    Auto,
    /// TCP, by sockets that we connect and hand to the QEMUs (`getfd`, `fd:`). With a `uri` of `tcp:`, only the source gets one.
    Owned,
    /// A unix socket that QEMU opens.
    Unix,
    /// TCP over loopback, opened by QEMU, which leaves Nagle's algorithm on.
    Tcp,
    /// A pair of unix sockets that we hand to the QEMUs.
    Fd,
    /// A process of the source that writes and one of the destination that reads, with a FIFO between them: one way only.
    Exec,
    /// A file, which the destination reads when it is complete. With the capability mapped-ram, pages have fixed places in it.
    File,
}

/// Options of the sockets that we open ourselves; what is not given is the kernel's choice, but for `notsent_lowat`. TCP_NODELAY is always on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// `SO_SNDBUF`. The kernel doubles it, and then no longer adapts it.
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
    /// `TCP_NOTSENT_LOWAT`, 128 KiB unless given: the sender waits while more than this is not yet on the wire. A page that post-copy asks
    /// for waits behind it, and so does the device state. Unlike a small `send_buffer` it leaves the window as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notsent_lowat: Option<Bytes>,
    /// `SO_KEEPALIVE` after so long without a word, asked three times as often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Micros>,
}

impl Socket {
    /// Whether anything was asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Socket::default()
    }
}
