//! QEMU's trace file, as the `log` back end writes it with `-msg timestamp=on`.
//!
//! Takes bytes; gives the trace points that tell of the blackout and of post-copy faults, in the
//! order of time. Knows nothing of what they mean together.
//!
//! A line of 8.2 to 10.x: `TID@SECONDS.MICROSECONDS:EVENT arguments`; of 11.1:
//! `2026-11-23T08:36:35.385086Z EVENT arguments`. The file has several writers and may be cut off
//! anywhere: what cannot be read is counted and passed over. So is a last line that does not end:
//! `downtime=105` may have been `downtime=10589`.

const CHECKPOINT: &str = "vmstate_downtime_checkpoint";
const SAVE: &str = "vmstate_downtime_save";
const LOAD: &str = "vmstate_downtime_load";
const REQUEST: &str = "postcopy_page_req_add";
const RESOLVED: &str = "postcopy_page_req_del";
const NAMES: [&str; 5] = [CHECKPOINT, SAVE, LOAD, REQUEST, RESOLVED];

/// What a trace file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceLog {
    /// `vmstate_downtime_checkpoint`.
    pub checkpoints: Vec<Checkpoint>,
    /// `vmstate_downtime_save` and `_load`.
    pub devices: Vec<DeviceRecord>,
    /// `postcopy_page_req_add` and `_del`.
    pub page_requests: Vec<PageRequest>,
    /// Lines of these events that could not be read.
    pub not_understood: u64,
    /// Lines of these events without a time: QEMU was started without `-msg timestamp=on`.
    pub without_time: u64,
}

/// A point that was passed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// On the host's wall clock, µs since 1970.
    pub wall_us: u64,
    /// QEMU's name of it.
    pub name: String,
}

/// One device's state saved or loaded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceRecord {
    /// When it was done.
    pub wall_us: u64,
    /// How long it took.
    pub us: u64,
    /// Saved, or else loaded.
    pub saved: bool,
    /// RAM and its like, or else a device.
    pub iterable: bool,
    /// QEMU's `idstr`.
    pub device: String,
    /// Which of several.
    pub instance: u32,
}

/// A page that post-copy asks for, or that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageRequest {
    /// When.
    pub wall_us: u64,
    /// Where in the destination's memory.
    pub address: u64,
    /// Asked for, or else there.
    pub added: bool,
}

/// Reads a trace file.
#[must_use]
pub fn parse(bytes: &[u8]) -> TraceLog {
    let mut log = TraceLog::default();
    let text = String::from_utf8_lossy(bytes);
    let (whole, torn) = text.rsplit_once('\n').unwrap_or(("", &text));
    for line in whole.lines() {
        take(&mut log, line);
    }
    log.not_understood += u64::from(event(torn).is_some());
    // Several threads write, so lines can be out of order; sorted, any order of the same lines
    // gives the same result.
    log.checkpoints.sort();
    log.checkpoints.dedup();
    log.devices.sort();
    log.devices.dedup();
    log.page_requests.sort();
    log.page_requests.dedup();
    log
}

/// What comes before one of our events, its name, and what comes after. A message that merely names
/// an event is none.
fn event(line: &str) -> Option<(&str, &'static str, &str)> {
    let (at, name) = NAMES.iter().filter_map(|name| Some((line.find(name)?, *name))).min()?;
    let (head, rest) = (&line[..at], &line[at + name.len()..]);
    let begins = head.is_empty() || head.ends_with(':') || head.ends_with("Z ");
    let ends = rest.is_empty() || rest.starts_with(' ');
    (begins && ends).then(|| (head, name, rest.trim()))
}

fn take(log: &mut TraceLog, line: &str) {
    let Some((head, name, arguments)) = event(line) else { return };
    // Two lines in one: one of them is torn, and nobody can say which of its parts are whose.
    if NAMES.iter().any(|name| arguments.contains(name)) {
        log.not_understood += 1;
        return;
    }
    let Some(wall_us) = time(head) else {
        if head.is_empty() {
            log.without_time += 1;
        } else {
            log.not_understood += 1;
        }
        return;
    };
    let understood = match name {
        CHECKPOINT => {
            checkpoint(arguments).map(|name| log.checkpoints.push(Checkpoint { wall_us, name }))
        }
        SAVE | LOAD => {
            device(wall_us, name == SAVE, arguments).map(|device| log.devices.push(device))
        }
        _ => {
            let request = |address| PageRequest { wall_us, address, added: name == REQUEST };
            page_address(arguments).map(|address| log.page_requests.push(request(address)))
        }
    };
    if understood.is_none() {
        log.not_understood += 1;
    }
}

/// One word of letters and dashes that says a side; a torn one is told by nothing else than being
/// unknown.
fn checkpoint(arguments: &str) -> Option<String> {
    let known_form = arguments.starts_with("src-") || arguments.starts_with("dst-");
    (known_form && arguments.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .then(|| arguments.to_owned())
}

/// `type=non-iterable idstr=cpu instance_id=0 downtime=17`. A name may hold spaces.
fn device(wall_us: u64, saved: bool, arguments: &str) -> Option<DeviceRecord> {
    let (kind, rest) = arguments.strip_prefix("type=")?.split_once(" idstr=")?;
    let iterable = match kind {
        "iterable" => true,
        "non-iterable" => false,
        _ => return None,
    };
    let (device, rest) = rest.rsplit_once(" instance_id=")?;
    let (instance, us) = rest.split_once(" downtime=")?;
    // The monotonic clock (QEMU_CLOCK_REALTIME in savevm.c), unlike the stamp of the line: a step
    // of the wall clock leaves it alone.
    Some(DeviceRecord {
        wall_us,
        us: number(us)?,
        saved,
        iterable,
        device: device.to_owned(),
        instance: instance.parse().ok()?,
    })
}

/// `new page req 0x7f1c27f58000 total 1`, `resolved page req 0x7f1c27f58000 total 0`.
fn page_address(arguments: &str) -> Option<u64> {
    let (_, rest) = arguments.split_once(" 0x")?;
    let (address, _) = rest.split_once(" total ")?;
    u64::from_str_radix(address, 16).ok()
}

/// `TID@SECONDS.MICROSECONDS:` or `2026-11-23T08:36:35.385086Z `.
fn time(head: &str) -> Option<u64> {
    if let Some((_, time)) = head.strip_suffix(':').and_then(|head| head.split_once('@')) {
        let (seconds, micros) = time.split_once('.')?;
        return number(seconds)?.checked_mul(1_000_000)?.checked_add(digits(micros, 6)?);
    }
    iso_time(head.strip_suffix(' ')?)
}

fn iso_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let part = |text: Option<&str>, count| digits(text?, count);
    let mut parts = date.split('-');
    let (year, month, day) =
        (part(parts.next(), 4)?, part(parts.next(), 2)?, part(parts.next(), 2)?);
    // On a whole second g_date_time_format_iso8601 prints no fraction at all.
    let (clock, micros) = time.split_once('.').unwrap_or((time, "000000"));
    let micros = digits(micros, 6)?;
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (part(parts.next(), 2)?, part(parts.next(), 2)?, part(parts.next(), 2)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let seconds =
        base::clock::unix_seconds_of_day(year, month, day) + (hour * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

/// So many digits: one less, and the line is torn.
fn digits(text: &str, count: usize) -> Option<u64> {
    number(text).filter(|_| text.len() == count)
}

/// Digits only, without the sign that `parse` would take.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_both_generations_are_read() {
        let log = parse(
            b"27030@1795422634.404366:vmstate_downtime_checkpoint src-downtime-start\n\
              2026-11-23T08:36:35.385086Z vmstate_downtime_save type=non-iterable idstr=0000:00:1f.2/ich9 ahci instance_id=3 downtime=31\n\
              1843@1795422994.200493:postcopy_page_req_add new page req 0x7f1c27f58000 total 1\n\
              2026-11-23T08:36:35.387398Z postcopy_page_req_del resolved page req 0x7f63c667d000 total 1\n",
        );
        insta::assert_debug_snapshot!(log, @r#"
        TraceLog {
            checkpoints: [
                Checkpoint {
                    wall_us: 1795422634404366,
                    name: "src-downtime-start",
                },
            ],
            devices: [
                DeviceRecord {
                    wall_us: 1795422995385086,
                    us: 31,
                    saved: true,
                    iterable: false,
                    device: "0000:00:1f.2/ich9 ahci",
                    instance: 3,
                },
            ],
            page_requests: [
                PageRequest {
                    wall_us: 1795422994200493,
                    address: 139758906212352,
                    added: true,
                },
                PageRequest {
                    wall_us: 1795422995387398,
                    address: 140066507182080,
                    added: false,
                },
            ],
            not_understood: 0,
            without_time: 0,
        }
        "#);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_the_rest_is_read() {
        let log = parse(
            b"vmstate_downtime_checkpoint src-vm-stopped\nqemu: some other line\n7@1.2:vmstate_downtime_checkpoint src-vm-stopped\n\
              7@1.000002:vmstate_downtime_save type=non-iter7@1.000003:vmstate_downtime_checkpoint src-vm-stopped\n\
              7@1.000004:vmstate_downtime_load type=iterable idstr=ram instance_id=0 downtime=-5\n\
              \xff\xfe7@1.000005:vmstate_downtime_checkpoint dst-something-new\n7@1.000006:vmstate_downtime_chec",
        );
        assert_eq!((log.without_time, log.not_understood), (1, 3));
        assert_eq!(
            log.checkpoints,
            [Checkpoint { wall_us: 1_000_005, name: "dst-something-new".into() }]
        );
    }

    #[test]
    fn a_line_without_its_end_may_have_lost_digits_of_a_number() {
        let whole = "7@1.000004:vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime=10589\n";
        assert_eq!(parse(whole.as_bytes()).devices[0].us, 10_589);
        for end in 1..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end]).devices, [], "{end}");
        }
    }

    #[test]
    fn on_a_whole_second_no_fraction_is_printed() {
        let log = parse(b"2026-11-23T08:36:35Z vmstate_downtime_checkpoint src-downtime-start\n");
        assert_eq!(
            (log.checkpoints.first().map(|point| point.wall_us), log.not_understood),
            (Some(1_795_422_995_000_000), 0)
        );
    }

    #[test]
    fn only_what_starts_like_our_lines_is_garbage() {
        let log = parse(
            b"qemu-system-x86_64: warning: trace event 'vmstate_downtime_checkpoint' does not exist\n\
              7@1.000002:postcopy_page_req_address new\n7@1.000002:migrate_set_state new state active\n",
        );
        assert_eq!(log, TraceLog::default());
        assert_eq!(
            parse(b"7@+1.000002:vmstate_downtime_checkpoint src-vm-stopped\n").not_understood,
            1
        );
        assert_eq!(
            parse(b"2026-+1-23T08:36:35Z vmstate_downtime_checkpoint src-vm-stopped\n")
                .not_understood,
            1
        );
    }

    #[test]
    fn dates_are_right_at_the_corners() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00", 0),
            ("2000-02-29T23:59:59", 951_868_799),
            ("2100-03-01T00:00:00", 4_107_542_400),
        ] {
            assert_eq!(
                iso_time(&format!("{text}.000007Z")),
                Some(seconds * 1_000_000 + 7),
                "{text}"
            );
        }
        assert_eq!(iso_time("2026-13-01T00:00:00.000000Z"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let mut line = b"1@1.000001:vmstate_downtime_load ".to_vec();
            line.extend(bytes);
            let _ = parse(&line);
        }
    }
}
