//! Random operations against a reference model that knows for each span whether it must be readable.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use glowplug_base::ByteRange;
use glowplug_store::{Claim, Layer, Store, StoreError};
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;

use crate::fixture::{Sample, killed_copy, layer_dir, open, range};

const JOURNAL_HEADER_BYTES: u64 = 16;
const JOURNAL_RECORD_BYTES: u64 = 40;

#[derive(Debug, Clone)]
enum Op {
    Commit(usize),
    /// Commits the right bytes with one wrong, or one too few.
    CommitWrong(usize, usize),
    Flush,
    Read(u64, u64),
    Verify,
    DropData,
    Reopen,
    /// Ends uncleanly; the journal loses this many bytes at its end, and a byte of the data file flips.
    Kill {
        torn: u64,
        flipped: Option<u64>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any::<usize>().prop_map(Op::Commit),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(span, at)| Op::CommitWrong(span, at)),
        3 => Just(Op::Flush),
        4 => (any::<u64>(), 0..30_000_u64).prop_map(|(start, len)| Op::Read(start, len)),
        1 => Just(Op::Verify),
        1 => Just(Op::DropData),
        1 => Just(Op::Reopen),
        2 => (prop_oneof![Just(0), 0..200_u64], prop::option::of(any::<u64>()))
            .prop_map(|(torn, flipped)| Op::Kill { torn, flipped }),
    ]
}

/// A store with one layer, and what must be true of it.
struct Rig {
    sample: Sample,
    dir: TempDir,
    open: Option<(Store, Arc<Layer>)>,
    present: Vec<bool>,
    /// The records that the journal holds or soon will, and how many of them it must hold.
    records: Vec<(usize, bool)>,
    durable: usize,
}

impl Rig {
    fn new() -> Self {
        let sample = Sample::new(1, 12);
        let dir = tempfile::tempdir().unwrap();
        let present = vec![false; sample.spans()];
        let mut rig = Self { sample, dir, open: None, present, records: Vec::new(), durable: 0 };
        rig.reopen();
        rig
    }

    fn reopen(&mut self) {
        self.open = None;
        let store = open(self.dir.path());
        let layer = self.sample.in_store(&store);
        self.open = Some((store, layer));
    }

    fn layer(&self) -> &Arc<Layer> {
        &self.open.as_ref().unwrap().1
    }

    fn apply(&mut self, op: &Op) {
        let spans = self.sample.spans();
        match *op {
            Op::Commit(span) => self.commit(span % spans),
            Op::CommitWrong(span, at) => self.commit_wrong(span % spans, at),
            Op::Flush => {
                self.layer().flush().unwrap();
                self.durable = self.records.len();
            }
            Op::Read(start, len) => self.read(start, len),
            Op::Verify => {
                let verdict = self.layer().verify();
                assert_eq!((verdict.sound, verdict.damaged), (self.count(), 0));
            }
            Op::DropData => self.drop_data(),
            Op::Reopen => {
                self.reopen();
                self.durable = self.records.len();
            }
            Op::Kill { torn, flipped } => self.kill(torn, flipped),
        }
        let here: Vec<usize> = (0..spans).filter(|span| self.present[*span]).collect();
        assert_eq!(self.sample.check(self.layer()), here, "after {op:?}");
        assert_eq!(self.layer().is_complete(), here.len() == spans);
    }

    fn count(&self) -> usize {
        self.present.iter().filter(|here| **here).count()
    }

    fn commit(&mut self, span: usize) {
        match self.layer().claim(span) {
            Claim::Present => assert!(self.present[span]),
            Claim::Theirs(_) => panic!("nobody else fetches"),
            Claim::Mine(ticket) => {
                assert!(!self.present[span], "span {span} is fetched again");
                assert!(self.layer().in_flight(span) && matches!(self.layer().claim(span), Claim::Theirs(_)));
                ticket.commit(self.sample.span(span)).map_err(|(_, error)| error).unwrap();
                self.present[span] = true;
                self.records.push((span, true));
            }
        }
        assert!(!self.layer().in_flight(span));
    }

    fn commit_wrong(&mut self, span: usize, at: usize) {
        let Claim::Mine(ticket) = self.layer().claim(span) else { return };
        let mut bytes = self.sample.span(span).to_vec();
        // Bytes between two files are not part of the data, so they are not checked either.
        let data = range(self.sample.index.spans[span].data);
        let extents: Vec<_> = self.sample.index.extents().copied().collect();
        let at = at % bytes.len();
        bytes[at] ^= 0x40;
        let image = glowplug_layer::place(&self.sample.index, &extents, span, &bytes);
        if *image == self.sample.data[data] {
            bytes.pop();
        }
        let (ticket, error) = ticket.commit(&bytes).unwrap_err();
        assert!(
            ticket.is_some() && matches!(error, StoreError::Mismatch { span: named, .. } if named == span)
        );
    }

    fn read(&self, start: u64, len: u64) {
        let size = self.sample.index.data_size;
        let start = start % size;
        let wanted = ByteRange::at(start, len.min(size - start));
        let mut bytes = vec![0; wanted.len() as usize];
        let here = self.sample.index.spans_for_data(wanted).all(|span| self.present[span]);
        match self.layer().read_at(&mut bytes, start) {
            Ok(()) => assert!(here && bytes == self.sample.data[range(wanted)], "{wanted:?}"),
            Err(error) => assert!(!here && matches!(error, StoreError::Absent { .. }), "{wanted:?}: {error}"),
        }
    }

    fn drop_data(&mut self) {
        let (store, layer) = self.open.take().unwrap();
        let blob = self.sample.blob();
        assert!(matches!(store.drop_data(&blob), Err(StoreError::LayerInUse(named)) if named == blob));
        drop(layer);
        store.drop_data(&blob).unwrap();
        let layer = store.layer(&blob).unwrap();
        self.open = Some((store, layer));
        self.present.fill(false);
        (self.records, self.durable) = (Vec::new(), 0);
    }

    fn kill(&mut self, torn: u64, flipped: Option<u64>) {
        let left = tempfile::tempdir().unwrap();
        killed_copy(self.dir.path(), left.path());
        self.open = None;
        self.dir = left;
        let folder = layer_dir(self.dir.path(), &self.sample.blob());
        let journal = OpenOptions::new().write(true).open(folder.join("presence")).unwrap();
        let length = journal.metadata().unwrap().len();
        let held = (length - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES;
        // The store may have flushed by itself, so more than what must be durable may be.
        assert!(held as usize >= self.durable && held as usize <= self.records.len());
        let length = length.saturating_sub(torn);
        journal.set_len(length).unwrap();
        let held = length.saturating_sub(JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES;
        self.records.truncate(held as usize);
        self.durable = self.records.len();
        self.present.fill(false);
        for (span, here) in &self.records {
            self.present[*span] = *here;
        }
        let path = folder.join("data");
        if let Some(at) = flipped {
            let data = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let at = at % self.sample.index.data_size;
            let mut byte = [0];
            data.read_exact_at(&mut byte, at).unwrap();
            data.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
        // What the journal promises and the data does not hold, now or since an earlier flip, is found damaged.
        let data = std::fs::read(path).unwrap();
        for span in 0..self.sample.spans() {
            if data[range(self.sample.index.spans[span].data)] != *self.sample.image(span)
                && std::mem::take(&mut self.present[span])
            {
                self.records.push((span, false));
            }
        }
        self.reopen();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_happens_only_right_bytes_are_readable(ops in prop::collection::vec(op(), 1..60)) {
        let mut rig = Rig::new();
        ops.iter().for_each(|op| rig.apply(op));
    }
}

#[test]
fn what_was_found_damaged_stays_absent_for_the_next_user() {
    let mut rig = Rig::new();
    (0..rig.sample.spans()).for_each(|span| rig.commit(span));
    rig.reopen();
    let data = OpenOptions::new().write(true).open(rig.layer().data_path()).unwrap();
    data.write_all_at(&[0], rig.sample.index.spans[3].data.start + 1).unwrap();
    let verdict = rig.layer().verify();
    assert_eq!((verdict.sound, verdict.damaged), (rig.sample.spans() - 1, 1));
    rig.reopen();
    rig.present.fill(true);
    rig.present[3] = false;
    rig.commit(3);
    rig.reopen();
    assert!(rig.layer().is_complete());
    assert_eq!(rig.sample.check(rig.layer()).len(), rig.sample.spans());
}

#[test]
fn a_data_file_that_was_cut_reads_as_absent_not_as_zeros() {
    let mut rig = Rig::new();
    (0..rig.sample.spans()).for_each(|span| rig.commit(span));
    let path = rig.layer().data_path();
    rig.open = None;
    let cut = rig.sample.index.spans[5].data.start + 1;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
    // The first user does not look, the second does.
    rig.reopen();
    rig.reopen();
    assert_eq!(rig.sample.check(rig.layer()), [0, 1, 2, 3, 4]);
}

#[test]
fn once_checked_a_layer_is_believed_again() {
    let mut rig = Rig::new();
    (0..rig.sample.spans()).for_each(|span| rig.commit(span));
    rig.apply(&Op::Flush);
    rig.kill(0, None);
    let mark = layer_dir(rig.dir.path(), &rig.sample.blob()).join("suspect");
    assert!(mark.exists(), "nobody has looked yet");
    rig.reopen();
    assert!(mark.exists(), "a clean end alone proves nothing");
    assert!(rig.layer().is_complete());
    rig.reopen();
    assert!(!mark.exists());
}
