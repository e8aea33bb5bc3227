//! What the stream can go through.

use super::cells;
use crate::harness::{Scratch, Switchover, qemu};

fn goes_by(transport: &str, mode: &str, version: &'static str, arguments: &[&str], scheme: &str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu)
        .args(&["--mode", mode, "--transport", transport])
        .args(arguments)
        .run();
    let summary = done.assert_completed(version);
    assert_eq!(summary["environment"]["transport"], scheme, "{}", done.story());
    assert_eq!(summary["postcopy_happened"], mode == "postcopy", "{}", done.story());
    scratch.assert_clean();
}

const OPTIONS: &[&str] = &[
    "--set",
    "socket={send_buffer=\"256KiB\", receive_buffer=\"256KiB\", congestion=\"reno\", \
        pacing=\"200MiB/s\", notsent_lowat=\"64KiB\", keep_alive=\"30s\"}",
];
const MAPPED: &[&str] = &["--cap", "mapped-ram=on"];

cells! { goes_by;
    pre_copy_by_auto_is_an_owned_socket: "auto", "precopy", "10.0", &[], "owned";
    several_channels_by_auto_are_qemus_unix_sockets: "auto", "precopy", "10.0",
        &["--cap", "multifd=on"], "unix";
    pre_copy_by_an_owned_socket_with_every_option: "owned", "precopy", "10.0", OPTIONS, "owned";
    post_copy_by_an_owned_socket_with_every_option: "owned", "postcopy", "newest", OPTIONS, "owned";
    pre_copy_by_tcp: "tcp", "precopy", "10.0", &[], "tcp";
    post_copy_by_tcp: "tcp", "postcopy", "10.0", &[], "tcp";
    pre_copy_by_unix_on_7_2: "unix", "precopy", "7.2", &[], "unix";
    post_copy_by_unix: "unix", "postcopy", "10.0", &[], "unix";
    pre_copy_by_a_pair_of_sockets: "fd", "precopy", "newest", &[], "fd";
    post_copy_by_a_pair_of_sockets: "fd", "postcopy", "7.2", &[], "fd";
    pre_copy_by_exec_on_7_2: "exec", "precopy", "7.2", &[], "exec";
    pre_copy_by_exec_on_the_newest: "exec", "precopy", "newest", &[], "exec";
    pre_copy_by_a_file: "file", "precopy", "10.0", &[], "file";
    pre_copy_by_a_file_with_fixed_places: "file", "precopy", "10.0", MAPPED, "file";
    pre_copy_by_a_file_with_fixed_places_on_the_newest: "file", "precopy", "newest", MAPPED, "file";
}

/// 8.2 knows a form without URIs.
fn by_channels(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let path = scratch.join("stream").display().to_string();
    let channel = format!(
        "[{{channel-type=\"main\", addr={{transport=\"socket\", type=\"unix\", path={path:?}}}}}]"
    );
    let done = Switchover::lab(&scratch, qemu, qemu)
        .args(&["--set", &format!("channels={channel}")])
        .run();
    if version == "7.2" {
        return done.assert_refused(&scratch, 5, &["takes no `channels`: they came with 8.2"]);
    }
    assert_eq!(done.assert_completed(version)["environment"]["transport"], "unix");
}

cells! { by_channels;
    channels_on_7_2_are_refused: "7.2";
    channels_on_10_0_carry_it: "10.0";
    channels_on_the_newest_carry_it: "newest";
}

fn refused(arguments: &[&str], words: &[&str]) {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    Switchover::lab(&scratch, qemu, qemu).args(arguments).run().assert_refused(&scratch, 5, words);
}

cells! { refused;
    post_copy_has_no_way_back_through_exec: &["--transport", "exec", "--mode", "postcopy"],
        &["nothing comes back", "exec"];
    an_owned_socket_is_one_channel: &["--transport", "owned", "--cap", "multifd=on"],
        &["one channel", "multifd"];
    options_are_for_sockets_of_ours: &["--transport", "unix", "--set", "socket.congestion=reno"],
        &["transport = \"owned\""];
    no_such_congestion_control: &["--set", "socket.congestion=wishful"], &["`wishful`", "reno"];
    a_link_needs_a_socket: &["--transport", "file", "--set", "link.preset=local"],
        &["[link]", "file"];
}
