//! Creates an empty qcow2 overlay, so that a guest's writes do not change the user's disk image.
//!
//! `qemu-img` is a separate package that a machine with QEMU may lack, so this module writes the
//! file. An overlay without data consists of its header, the reference counts of its own few
//! clusters, and a table of zeros (QEMU's docs/interop/qcow2.rst). Its backing file is given on
//! QEMU's command line.

use std::fs::File;
use std::io::{self, Read, Seek};

const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: u32 = 3;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Size of the header of version 3.
const HEADER_BYTES: u32 = 104;
/// Reference counts have 2^4 = 16 bits.
const REFCOUNT_ORDER: u32 = 4;
/// Bytes of disk per entry of the L1 table: one cluster of L2 entries, one cluster each.
const BYTES_PER_ENTRY: u64 = CLUSTER / 8 * CLUSTER;
const SECTOR: u64 = 512;

/// Maximum size of a disk with an overlay. A larger disk needs more than one refcount block; an
/// image with such a size is more likely damaged.
pub(super) const MAX_DISK_BYTES: u64 = 64 << 40;

/// Format and size of a disk image.
pub(super) struct Image {
    pub(super) is_qcow2: bool,
    /// Size of the disk that the guest sees.
    pub(super) bytes: u64,
}

impl Image {
    pub(super) fn read(mut file: File) -> io::Result<Image> {
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

/// Returns the content of an overlay file for a disk of at most [`MAX_DISK_BYTES`] bytes: header,
/// refcount table, one refcount block, and the L1 table.
pub(super) fn create_empty(disk_bytes: u64) -> Vec<u8> {
    let entries = disk_bytes.div_ceil(BYTES_PER_ENTRY).max(1);
    let clusters = 3 + (entries * 8).div_ceil(CLUSTER);
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    let nothing = 0u64.to_be_bytes();
    let header = [
        &MAGIC[..],
        &VERSION.to_be_bytes(),
        // Offset and length of the backing file's name: there is none.
        &nothing,
        &0u32.to_be_bytes(),
        &CLUSTER_BITS.to_be_bytes(),
        &disk_bytes.to_be_bytes(),
        // Not encrypted.
        &0u32.to_be_bytes(),
        &entries.to_be_bytes(),
        &(3 * CLUSTER).to_be_bytes(),
        // Refcount table: offset, and size in clusters.
        &CLUSTER.to_be_bytes(),
        &1u32.to_be_bytes(),
        // No snapshots.
        &0u32.to_be_bytes(),
        &nothing,
        // Feature bits: incompatible, compatible, autoclear.
        &nothing,
        &nothing,
        &nothing,
        &REFCOUNT_ORDER.to_be_bytes(),
        &HEADER_BYTES.to_be_bytes(),
    ];
    // Each cluster of the file is referenced once.
    let counts = 1u16.to_be_bytes().repeat(usize::try_from(clusters).unwrap_or(0));
    let tables = [header.concat(), (2 * CLUSTER).to_be_bytes().to_vec(), counts];
    let mut file: Vec<u8> = tables.iter().flat_map(|table| pad_to_cluster(table)).collect();
    file.resize(usize::try_from(clusters * CLUSTER).unwrap_or(file.len()), 0);
    file
}

/// Pads `table` with zeros to the end of its cluster.
fn pad_to_cluster(table: &[u8]) -> impl Iterator<Item = u8> {
    let cluster = 1 << CLUSTER_BITS;
    table.iter().copied().chain(std::iter::repeat(0)).take(table.len().next_multiple_of(cluster))
}
