//! How much of its RAM a VM on this host holds: pages that nobody touched are zero, and migrate for
//! next to nothing.

use nix::libc::pid_t;

/// Resident bytes of the mapping that is the guest's RAM: the one of just that size. `None` if
/// there is none, or we may not look.
pub(super) fn resident(pid: pid_t, ram: f64) -> Option<f64> {
    of_maps(&std::fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?, ram)
}

/// `Size:` and, after it, `Rss:` of each mapping, in kB (proc_pid_smaps(5)).
fn of_maps(smaps: &str, ram: f64) -> Option<f64> {
    let mut is_ram = false;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (name, kilobytes) =
            (words.next(), words.next().and_then(|word| word.parse::<f64>().ok()));
        match (name, kilobytes) {
            (Some("Size:"), Some(size)) => is_ram = size * 1024.0 == ram,
            (Some("Rss:"), Some(resident)) if is_ram => return Some(resident * 1024.0),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_of_the_size_of_ram_is_it() {
        let smaps = "7f00-7f10 rw-p 0 0:0 0\nSize:  64 kB\nRss:  32 kB\n7f20-7f30 rw-p 0 0:0 0\nSize: 262144 kB\nRss: 68000 kB\nPss: 1 kB\n";
        assert_eq!(of_maps(smaps, 268_435_456.0), Some(68000.0 * 1024.0));
        assert_eq!(of_maps(smaps, 1e9), None);
    }
}
