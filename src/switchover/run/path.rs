//! What the stream goes through: sockets of ours, a link between them, or a link in front of where
//! the destination listens.

use super::RunError;
use lab::Route;
use lab::link::{Link, LinkHandle, LinkListener, Totals};
use migrate::drive::{DriveError, Own, Prepared, Rejoin};
use migrate::plan::{Plan, Sockets, Uri};
use migrate::sockets;
use migrate::sockets::Address;
use record::{Entry, Sink};
use scenario::{LinkKind, Scenario};
use serde_json::{Value, json};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a broken post-copy goes on: as the scenario says, or as the stream went first, through the
/// same link.
#[derive(Debug)]
struct Again {
    named: Option<String>,
    first: Uri,
    host: Option<String>,
    local: Option<PathBuf>,
    handle: Option<LinkHandle>,
    listeners: Mutex<Vec<LinkListener>>,
}

impl Rejoin for Again {
    fn incoming(&self, attempt: u32) -> String {
        match (&self.named, &self.host, &self.local) {
            (Some(uri), ..) => uri.clone(),
            (None, Some(host), _) => format!("tcp:{host}:0"),
            _ if self.first.scheme() == "tcp" => self.first.incoming.clone(),
            // A fresh name each time: a QEMU may listen at the last one still.
            (None, None, Some(local)) => format!("unix:{}.again{attempt}", local.display()),
            (None, None, None) => self.first.incoming.clone(),
        }
    }

    fn outgoing(&self, listening: &str) -> io::Result<String> {
        // Where the destination listens at every address, the source knows which.
        let uri = if *listening == self.first.incoming { &self.first.outgoing } else { listening };
        let Some(handle) = &self.handle else { return Ok(uri.to_owned()) };
        let to: Address = uri
            .parse()
            .map_err(|text: String| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let (listener, at) = handle.serve(&in_front_of(&to, None), to)?;
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        Ok(at.to_string())
    }
}

/// The way of one migration's stream.
#[derive(Debug)]
pub(super) struct Path {
    link: Option<Link>,
    watch: Option<lab::Watch>,
}

impl Path {
    /// Lays it, as far as that can be before the destination listens: the sockets to hand over.
    pub(super) fn lay(
        scenario: &Scenario,
        plan: &Plan,
        route: Option<&Route>,
        sink: &Sink,
        number: u32,
    ) -> Result<(Path, Own), RunError> {
        let failed = |source| DriveError::Socket { uri: plan.stream.uri.outgoing.clone(), source };
        let tell = {
            let sink = sink.clone();
            move |flows| sink.give(Entry::Link(number, flows))
        };
        let emulated = !scenario.link.is_none() && scenario.link.kind == LinkKind::Emulated;
        let link = if emulated {
            Some(Link::start(&scenario.link, tell.clone()).map_err(failed)?)
        } else {
            None
        };
        let watch = route.map(|route| route.watch(tell)).transpose().map_err(failed)?;
        let ends = match &link {
            Some(link) => through(link, plan, scenario),
            None => pair(plan, scenario, route).transpose(),
        };
        let ends = ends.map_err(failed)?;
        Ok((Path { link, watch }, Own { ends, options: scenario.socket.clone() }))
    }

    /// Puts the link in front of the destination, where it listens by itself: the arguments of
    /// `migrate` then.
    pub(super) fn lead(
        &mut self,
        plan: &Plan,
        prepared: &Prepared,
        files: Option<&PathBuf>,
    ) -> Result<Value, RunError> {
        let Some(link) = self.link.as_mut().filter(|_| plan.stream.sockets == Sockets::QemusOwn)
        else {
            return Ok(prepared.outgoing.clone());
        };
        let uri = prepared.outgoing.get("uri").and_then(Value::as_str).unwrap_or_default();
        let mut front = || -> io::Result<Address> {
            let to: Address = uri
                .parse()
                .map_err(|text: String| io::Error::new(io::ErrorKind::InvalidInput, text))?;
            link.serve(&in_front_of(&to, files), to)
        };
        let at = front().map_err(|source| DriveError::Socket { uri: uri.to_owned(), source })?;
        Ok(json!({ "uri": at.to_string() }))
    }

    /// Where its post-copy goes on, should it break.
    pub(super) fn again(
        &self,
        scenario: &Scenario,
        plan: &Plan,
        route: Option<&Route>,
        local: Option<&PathBuf>,
    ) -> Arc<dyn Rejoin> {
        Arc::new(Again {
            named: scenario.recovery.uri.clone(),
            first: plan.stream.uri.clone(),
            host: route.map(|route| route.host().to_owned()),
            local: local.cloned(),
            handle: self.link.as_ref().map(Link::handle),
            listeners: Mutex::default(),
        })
    }

    /// `migrate` is about to be sent. Gives whom to tell the source's states.
    pub(super) fn begin(&self) -> Box<dyn FnMut(&str) + Send> {
        match &self.link {
            Some(link) => {
                link.begin();
                let states = link.states();
                Box::new(move |state| states.report(state))
            }
            None => Box::new(|_| ()),
        }
    }

    /// What passed, where that is known.
    pub(super) fn end(self) -> Option<Totals> {
        self.link.map(Link::stop).or(self.watch.map(lab::Watch::stop))
    }
}

/// Where a link listens that leads there.
fn in_front_of(to: &Address, files: Option<&PathBuf>) -> Address {
    match (to, files) {
        (Address::Unix(_), Some(files)) => {
            Address::Unix(format!("{}.link", files.display()).into())
        }
        (Address::Unix(path), None) => Address::Unix(format!("{}.link", path.display()).into()),
        (Address::Tcp(..), _) => Address::Tcp("127.0.0.1".to_owned(), 0),
    }
}

/// Two connections with the link between them.
fn through(link: &Link, plan: &Plan, scenario: &Scenario) -> io::Result<Option<[OwnedFd; 2]>> {
    let Some(near) = pair(plan, scenario, None) else { return Ok(None) };
    let Some(far) = pair(plan, scenario, None) else { return Ok(None) };
    let ([source, near], [far, destination]) = (near?, far?);
    link.join([near, far])?;
    Ok(Some([source, destination]))
}

fn pair(
    plan: &Plan,
    scenario: &Scenario,
    route: Option<&Route>,
) -> Option<io::Result<[OwnedFd; 2]>> {
    match (plan.stream.sockets, route) {
        (Sockets::Tcp, Some(route)) => Some(route.tcp_pair(&scenario.socket)),
        (Sockets::Tcp, None) => Some(sockets::tcp_pair(&scenario.socket)),
        (Sockets::Unix, _) => Some(sockets::unix_pair()),
        (Sockets::QemusOwn | Sockets::OfSource, _) => None,
    }
}
