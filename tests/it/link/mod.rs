//! The emulated link by itself: what it may never do, and what it must do at least. How well it
//! keeps to its figures is a benchmark's.

use base::clock::monotonic_ns;
use lab::link::{Link, Totals};
use proptest::prelude::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use base::units::{Bytes, Micros, Rate};
use migrate::sockets::{Address, tcp_pair, unix_pair};
use scenario::{Figures, LinkPreset, Outage};

const MIB: u64 = 1 << 20;

fn asked(figures: Figures) -> scenario::Link {
    scenario::Link { figures, ..scenario::Link::default() }
}

fn figures(rate: Option<u64>, delay_us: u64, window: Option<u64>) -> Figures {
    Figures {
        rate: rate.map(Rate),
        delay: Some(Micros(delay_us)),
        window: window.map(Bytes),
        ..Figures::default()
    }
}

fn open() -> scenario::Link {
    scenario::Link { preset: LinkPreset::Open, ..scenario::Link::default() }
}

/// A link, the source's end and the destination's.
fn linked(asked: &scenario::Link) -> (Link, UnixStream, UnixStream) {
    let link = Link::start(asked, |_| ()).unwrap();
    let (here, there) = join(&link);
    (link, here, there)
}

fn join(link: &Link) -> (UnixStream, UnixStream) {
    let ([here, near], [far, there]) = (unix_pair().unwrap(), unix_pair().unwrap());
    link.join([near, far]).unwrap();
    (here.into(), there.into())
}

/// Bytes that differ wherever two of them could be exchanged.
fn pattern(length: u64, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// Sends all of it, and then the end.
fn send(mut to: UnixStream, bytes: Vec<u8>) -> std::thread::JoinHandle<UnixStream> {
    std::thread::spawn(move || {
        to.write_all(&bytes).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
        to
    })
}

fn receive(mut from: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn kinds() -> Vec<scenario::Link> {
    let jitter =
        Figures { jitter: Some(Micros(700)), ..figures(Some(200 * MIB), 300, Some(256 << 10)) };
    vec![
        open(),
        asked(figures(Some(100 * MIB), 0, None)),
        asked(figures(None, 2000, None)),
        asked(figures(None, 1000, Some(64 << 10))),
        asked(jitter),
        asked(Figures { buffer: Some(Bytes(10_000)), ..figures(Some(50 * MIB), 100, None) }),
        scenario::Link { preset: LinkPreset::Halifax, ..scenario::Link::default() },
    ]
}

#[test]
fn what_goes_in_comes_out_in_both_directions_at_once() {
    for asked in kinds() {
        let (link, here, there) = linked(&asked);
        let (out, back) = (pattern(2 * MIB + 17, 1), pattern(MIB / 2 + 3, 2));
        let (from_here, from_there) = (
            send(here.try_clone().unwrap(), out.clone()),
            send(there.try_clone().unwrap(), back.clone()),
        );
        let reader = std::thread::spawn(move || receive(&there));
        assert!(receive(&here) == back, "{asked:?}");
        assert!(reader.join().unwrap() == out, "{asked:?}");
        drop((from_here.join(), from_there.join()));
        let Totals { channels, there, back: returned } = link.stop();
        assert_eq!(
            (channels, there.bytes, returned.bytes),
            (1, out.len() as u64, back.len() as u64)
        );
    }
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    for asked in kinds() {
        let (_link, here, mut there) = linked(&asked);
        send(here.try_clone().unwrap(), b"question".to_vec()).join().unwrap();
        assert_eq!(receive(&there), b"question");
        there.write_all(b"answer").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive(&here), b"answer", "{asked:?}");
    }
}

#[test]
fn nothing_arrives_before_its_delay_nor_above_the_rate() {
    let (_link, here, there) = linked(&asked(figures(Some(20 * MIB), 30_000, None)));
    let began_ns = monotonic_ns();
    let sender = send(here, pattern(2 * MIB, 3));
    let mut there = there;
    there.read_exact(&mut [0]).unwrap();
    assert!(monotonic_ns() - began_ns >= 30_000_000);
    assert_eq!(receive(&there).len() as u64, 2 * MIB - 1);
    assert!(
        monotonic_ns() - began_ns >= 129_000_000,
        "2 MiB at 20 MiB/s take 100 ms, and 30 ms on the way"
    );
    sender.join().unwrap();
}

#[test]
fn a_window_is_sent_once_a_round_trip() {
    let (_link, here, there) = linked(&asked(figures(None, 5000, Some(64 << 10))));
    let began_ns = monotonic_ns();
    let sender = send(here, pattern(MIB, 4));
    assert_eq!(receive(&there).len() as u64, MIB);
    assert!(
        monotonic_ns() - began_ns >= 155_000_000,
        "16 windows: 15 round trips of 10 ms, and one way"
    );
    sender.join().unwrap();
}

#[test]
fn channels_share_the_rate() {
    let link = Link::start(&asked(figures(Some(20 * MIB), 0, None)), |_| ()).unwrap();
    let ends: Vec<_> = (0..4).map(|_| join(&link)).collect();
    let began_ns = monotonic_ns();
    let sending: Vec<_> =
        ends.iter().map(|(here, _)| send(here.try_clone().unwrap(), pattern(MIB / 2, 5))).collect();
    let receiving: Vec<_> = ends
        .into_iter()
        .map(|(here, there)| std::thread::spawn(move || (receive(&there).len(), here)))
        .collect();
    for receiving in receiving {
        assert_eq!(receiving.join().unwrap().0 as u64, MIB / 2);
    }
    assert!(monotonic_ns() - began_ns >= 99_000_000, "2 MiB at 20 MiB/s");
    sending.into_iter().for_each(|sending| drop(sending.join()));
    assert_eq!(link.stop().channels, 4);
}

#[test]
fn jitter_adds_and_keeps_the_order() {
    let (_link, mut here, mut there) =
        linked(&asked(Figures { jitter: Some(Micros(3000)), ..figures(None, 1000, None) }));
    let mut sent = Vec::new();
    for number in 0..200u8 {
        sent.push(monotonic_ns());
        here.write_all(&[number]).unwrap();
        std::thread::park_timeout(Duration::from_micros(200));
    }
    for (number, sent_ns) in (0..200u8).zip(sent) {
        let mut byte = [0];
        there.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number]);
        assert!(monotonic_ns() - sent_ns >= 1_000_000);
    }
}

/// Bytes that a writer can put in before it has to wait.
fn swallowed(mut here: &UnixStream) -> u64 {
    here.set_nonblocking(true).unwrap();
    let (block, mut bytes, mut full) = ([7; 4096], 0u64, 0);
    // Full for a while, not only until the loop wakes.
    while full < 50 {
        match here.write(&block) {
            Ok(n) => (bytes, full) = (bytes + n as u64, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                full += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    bytes
}

#[test]
fn a_receiver_that_takes_nothing_holds_up_the_sender() {
    for asked in kinds() {
        let way = asked.directions()[0];
        // What waits, what is on the wire, and what the receiver may be late with: a millisecond's
        // worth and the buffer again.
        let on_the_wire = way.rate.map_or(0, |rate| rate.0 * (way.delay.0 + 1000) / 1_000_000);
        let limit = way.window.map_or(2 * way.buffer.0 + on_the_wire, |window| window.0);
        let (link, here, _there) = linked(&asked);
        // What the two pairs of sockets hold in the kernel, and the pipe between those of an open
        // link.
        let sockets = 2 * socket2::SockRef::from(&here).send_buffer_size().unwrap() as u64 + MIB;
        let took = swallowed(&here);
        assert!(took <= sockets + limit, "{took} of {limit}: {asked:?}");
        let held = link.stop().there.max_held;
        assert!(held <= limit, "{held} of {limit}: {asked:?}");
    }
}

#[test]
fn a_receiver_that_goes_away_ends_the_sender() {
    for asked in kinds() {
        let (_link, mut here, there) = linked(&asked);
        drop(there);
        let block = [7; 4096];
        // Until it is known: one way and back.
        let ended = (0..1_000_000).any(|_| here.write_all(&block).is_err());
        assert!(ended, "{asked:?}");
    }
}

#[test]
fn a_stalled_link_goes_on_afterwards_and_loses_nothing() {
    let outage = Outage { at: Some(Micros(0)), lasts: Some(Micros(150_000)), ..Outage::default() };
    let (link, here, there) =
        linked(&scenario::Link { outages: vec![outage], ..scenario::Link::default() });
    link.begin();
    let began_ns = monotonic_ns();
    let sender = send(here, pattern(MIB, 6));
    assert!(receive(&there) == pattern(MIB, 6));
    assert!(monotonic_ns() - began_ns >= 140_000_000);
    sender.join().unwrap();
}

#[test]
fn a_broken_link_ends_its_connections_and_lets_none_in_until_it_is_over() {
    let outage = Outage {
        after_bytes: Some(Bytes(100_000)),
        lasts: Some(Micros(200_000)),
        breaks: true,
        ..Outage::default()
    };
    let (link, mut here, there) =
        linked(&scenario::Link { outages: vec![outage], ..scenario::Link::default() });
    let reader = std::thread::spawn(move || {
        let (mut there, mut got, mut buffer) = (there, 0, [0; 4096]);
        while let Ok(n @ 1..) = there.read(&mut buffer) {
            got += n;
        }
        got
    });
    let block = [7; 4096];
    assert!((0..100_000).any(|_| here.write_all(&block).is_err()));
    assert!(reader.join().unwrap() >= 100_000);
    let (refused, _there) = join(&link);
    assert!(receive(&refused).is_empty());
    std::thread::park_timeout(Duration::from_millis(400));
    let (here, there) = join(&link);
    send(here, b"again".to_vec()).join().unwrap();
    assert_eq!(receive(&there), b"again");
}

#[test]
fn an_outage_waits_for_its_state() {
    let outage =
        Outage { at_state: Some("postcopy-active".into()), breaks: true, ..Outage::default() };
    let (link, mut here, mut there) =
        linked(&scenario::Link { outages: vec![outage], ..scenario::Link::default() });
    link.states().report("active");
    here.write_all(b"1").unwrap();
    there.read_exact(&mut [0]).unwrap();
    link.states().report("postcopy-active");
    assert!(receive(&there).is_empty());
}

#[test]
fn connections_come_in_at_the_front_by_unix_and_by_tcp() {
    let directory = tempfile::tempdir().unwrap();
    for asked in [open(), asked(figures(Some(100 * MIB), 1000, None))] {
        let listener = UnixListener::bind(directory.path().join("to")).unwrap();
        let mut link = Link::start(&asked, |_| ()).unwrap();
        let to = Address::Unix(directory.path().join("to"));
        link.serve(&Address::Unix(directory.path().join("at")), to).unwrap();
        let mut here = UnixStream::connect(directory.path().join("at")).unwrap();
        here.write_all(b"unix").unwrap();
        let mut got = [0; 4];
        listener.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"unix");

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Address::Tcp("127.0.0.1".into(), listener.local_addr().unwrap().port());
        let Address::Tcp(host, port) =
            link.serve(&Address::Tcp("127.0.0.1".into(), 0), to).unwrap()
        else {
            unreachable!()
        };
        let mut here = TcpStream::connect((host, port)).unwrap();
        here.write_all(b"tcp!").unwrap();
        listener.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"tcp!");
        drop(link);
        assert!(!directory.path().join("at").exists());
        std::fs::remove_file(directory.path().join("to")).unwrap();
    }
}

#[test]
fn a_destination_that_refuses_ends_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let mut link = Link::start(&asked(figures(None, 1000, None)), |_| ()).unwrap();
    let at = directory.path().join("at");
    link.serve(&Address::Unix(at.clone()), Address::Unix(directory.path().join("nobody"))).unwrap();
    assert!(receive(&UnixStream::connect(&at).unwrap()).is_empty());
}

#[test]
fn a_link_that_ends_ends_its_connections() {
    for asked in kinds() {
        let (link, here, there) = linked(&asked);
        drop(link);
        assert!(receive(&here).is_empty() && receive(&there).is_empty(), "{asked:?}");
    }
}

#[test]
fn what_passed_is_told_over_time() {
    for asked in [open(), asked(figures(Some(50 * MIB), 1000, None))] {
        let (tell, told) = std::sync::mpsc::channel();
        let link = Link::start(&asked, move |flows| tell.send(flows).unwrap()).unwrap();
        let [here, near] = tcp_pair(&scenario::Socket::default()).unwrap();
        let [far, there] = unix_pair().unwrap();
        link.join([near, far]).unwrap();
        let sender = std::thread::spawn(move || {
            std::fs::File::from(here).write_all(&pattern(2 * MIB, 7)).unwrap();
        });
        assert_eq!(receive(&there.into()).len() as u64, 2 * MIB);
        sender.join().unwrap();
        drop(link);
        let flows: Vec<_> = told.into_iter().flatten().collect();
        assert_eq!(
            flows.iter().filter(|flow| !flow.back).map(|flow| flow.bytes).sum::<u64>(),
            2 * MIB
        );
        assert!(flows.iter().all(|flow| flow.channel == 0 && flow.at_ns > 0));
        assert!(flows.is_sorted_by_key(|flow| flow.at_ns));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn no_figures_lose_or_change_anything(
        rate in proptest::option::of(5 * MIB..500 * MIB), delay in 0u64..3000, jitter in 0u64..1000,
        window in proptest::option::of(1000u64..200_000), buffer in 1u64..100_000,
            length in 0u64..100_000, seed: u64,
    ) {
        let figures = Figures { jitter: Some(Micros(jitter)), buffer: Some(Bytes(buffer.max(2000))),
            ..figures(rate, delay, window) };
        let (_link, here, there) = linked(&asked(figures));
        let bytes = pattern(length, seed);
        let sender = send(here, bytes.clone());
        prop_assert!(receive(&there) == bytes);
        sender.join().unwrap();
    }
}
