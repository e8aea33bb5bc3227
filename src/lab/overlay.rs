//! An empty qcow2 overlay, so that what a guest writes to a disk of the user's goes somewhere else. Pure, but for the look at the image.
//!
//! Written here and not by `qemu-img`: that is a package of its own, which a machine with QEMU need not have. An overlay without data is
//! its header, the counts of its own few clusters, and a table of zeros (QEMU's docs/interop/qcow2.rst). What it lies over, QEMU is
//! told on its command line.

use std::fs::File;
use std::io::{self, Read, Seek};

const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: u32 = 3;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Of the header, since version 3.
const HEADER_BYTES: u32 = 104;
/// Counts of 16 bits.
const REFCOUNT_ORDER: u32 = 4;
/// What one entry of the first table stands for: a cluster of entries, a cluster each.
const BYTES_AN_ENTRY: u64 = CLUSTER / 8 * CLUSTER;
const SECTOR: u64 = 512;

/// A larger disk would need more than the one block of refcounts; an image that says so is more likely damaged.
pub(super) const LARGEST: u64 = 64 << 40;

/// What an image's first bytes say.
pub(super) struct Image {
    pub(super) is_qcow2: bool,
    /// Of the disk that the guest sees.
    pub(super) bytes: u64,
}

impl Image {
    pub(super) fn look(mut file: File) -> io::Result<Image> {
        let length = file.seek(io::SeekFrom::End(0))?;
        file.rewind()?;
        let mut header = Vec::new();
        file.take(32).read_to_end(&mut header)?;
        let is_qcow2 = header.starts_with(&MAGIC);
        let size = header.get(24..32).and_then(|size| size.try_into().ok()).map(u64::from_be_bytes);
        Ok(Image {
            is_qcow2,
            bytes: size.filter(|_| is_qcow2).unwrap_or(length.next_multiple_of(SECTOR)),
        })
    }
}

/// The file, of a disk of [`LARGEST`] at most: header, table of refcount blocks, one such block, and the first table, of so many clusters as the
/// disk needs.
pub(super) fn empty(disk_bytes: u64) -> Vec<u8> {
    let entries = disk_bytes.div_ceil(BYTES_AN_ENTRY).max(1);
    let clusters = 3 + (entries * 8).div_ceil(CLUSTER);
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    let nothing = 0u64.to_be_bytes();
    let header = [
        &MAGIC[..],
        &VERSION.to_be_bytes(),
        // No name of a backing file: at no place, of no length.
        &nothing,
        &0u32.to_be_bytes(),
        &CLUSTER_BITS.to_be_bytes(),
        &disk_bytes.to_be_bytes(),
        // Not encrypted.
        &0u32.to_be_bytes(),
        &entries.to_be_bytes(),
        &(3 * CLUSTER).to_be_bytes(),
        // The table of refcount blocks: where, and of how many clusters.
        &CLUSTER.to_be_bytes(),
        &1u32.to_be_bytes(),
        // No snapshots.
        &0u32.to_be_bytes(),
        &nothing,
        // Features: incompatible, compatible, autoclear.
        &nothing,
        &nothing,
        &nothing,
        &REFCOUNT_ORDER.to_be_bytes(),
        &HEADER_BYTES.to_be_bytes(),
    ];
    // Each cluster of the file is used once.
    let counts = 1u16.to_be_bytes().repeat(usize::try_from(clusters).unwrap_or(0));
    let tables = [header.concat(), (2 * CLUSTER).to_be_bytes().to_vec(), counts];
    let mut file: Vec<u8> = tables.iter().flat_map(|table| in_clusters(table)).collect();
    file.resize(usize::try_from(clusters * CLUSTER).unwrap_or(file.len()), 0);
    file
}

/// With zeros up to the end of the cluster.
fn in_clusters(table: &[u8]) -> impl Iterator<Item = u8> {
    let cluster = 1 << CLUSTER_BITS;
    table.iter().copied().chain(std::iter::repeat(0)).take(table.len().next_multiple_of(cluster))
}
