//! Trace points of a QEMU that somebody else started: switched on over QMP, and its trace file read
//! as far as it grew.

use qmp::{Request, Session};
use record::vm_name;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of what it grew by, so much is kept.
const LONGEST: u64 = 1 << 30;
const DEADLINE: Duration = Duration::from_secs(10);
const POINTS: &str = "vmstate_downtime_*";

/// A trace that is going on.
pub(super) struct ForeignTrace {
    session: Session,
    vm: u32,
    path: PathBuf,
    file: File,
}

impl ForeignTrace {
    /// Switches the trace points on. The error says in a sentence why there will be no traces.
    pub(super) async fn start(
        session: Session,
        vm: u32,
        path: &Path,
    ) -> Result<ForeignTrace, String> {
        let none = |why: String| format!("no traces of the {}: {why}", vm_name(vm));
        let open = || -> io::Result<File> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|error| {
            none(format!("its trace file {} cannot be read: {error}", path.display()))
        })?;
        switch(&session, true).await.map_err(none)?;
        Ok(ForeignTrace { session, vm, path: path.to_owned(), file })
    }

    /// Switches them off again, and keeps what came in between in the run directory.
    pub(super) async fn end(mut self, directory: &Path, warnings: &mut Vec<String>) {
        // A source that is gone by now has traced all that it ever will.
        let _ = switch(&self.session, false).await;
        let mut traced = Vec::new();
        let kept = (&mut self.file).take(LONGEST).read_to_end(&mut traced).and_then(|_| {
            std::fs::write(directory.join(format!("trace.{}.log", vm_name(self.vm))), &traced)
        });
        if let Err(error) = kept {
            warnings.push(format!("the trace file {} was not kept: {error}", self.path.display()));
        }
    }
}

async fn switch(session: &Session, on: bool) -> Result<(), String> {
    // Typed, `vcpu` would be sent too, which newer QEMUs no longer take.
    let request = Request::raw(
        "trace-event-set-state",
        json!({"name": POINTS, "enable": on, "ignore-unavailable": true}),
    );
    session.execute(request, DEADLINE).await.map(drop).map_err(|error| error.to_string())
}
