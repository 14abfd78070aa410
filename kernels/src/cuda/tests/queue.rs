//! What is put off reaches the device in order, and only the same work is replayed.

use super::super::driver::Driver;
use super::super::queue::{Queue, Work};
use super::super::{Fused, Pointer, Product, launch};

/// Writes down what it is asked for.
#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    graphs: usize,
    refuses: bool,
}

impl Driver for Notes {
    fn name(&self) -> String {
        "notes".to_owned()
    }
    fn free_memory(&self) -> Option<usize> {
        None
    }
    fn allocate(&mut self, bytes: &[usize]) -> Vec<Pointer> {
        bytes.iter().map(|_| 4096).collect()
    }
    fn write(&mut self, to: Pointer, bytes: &[u8]) {
        self.lines.push(format!("write {to}: {bytes:?}"));
    }
    fn read(&mut self, _: Pointer, _: &mut [u8]) {}
    fn queue(&mut self, work: &Work) {
        let Work::Launch(launch) = work else { panic!("{work:?}") };
        self.lines.push(format!("queue {} of {:?}", launch.kernel, launch.arguments[0]));
    }
    fn fuses(&mut self, _: &Product, _: Fused) -> bool {
        false
    }
    fn capture(&mut self, work: &[Work]) -> Option<usize> {
        self.lines.push(format!("capture {}", work.len()));
        self.graphs += 1;
        (!self.refuses).then_some(self.graphs)
    }
    fn replay(&mut self, graph: usize) {
        self.lines.push(format!("replay {graph}"));
    }
    fn upload(&mut self, _: Pointer, _: &[u8]) {}
    fn wait_uploads(&mut self) {}
    fn join(&mut self, _: &crate::Ranks) -> Result<(), crate::RanksError> {
        Ok(())
    }
    fn synchronize(&mut self) {}
}

/// A step of `len` kernels whose first argument is `scalar`; what it asked of the device.
fn step(queue: &mut Queue, notes: &mut Notes, len: usize, scalar: f32) -> Vec<String> {
    notes.lines.clear();
    for _ in 0..len {
        queue.push(Work::Launch(launch!("k", [1, 1, 1], scalar)));
    }
    assert!(notes.lines.is_empty(), "nothing is queued before the flush");
    queue.flush(notes);
    std::mem::take(&mut notes.lines)
}

#[test]
fn the_same_step_is_queued_then_captured_then_replayed() {
    let (mut queue, mut notes) = (Queue::default(), Notes::default());
    let first = step(&mut queue, &mut notes, 20, 1.0);
    assert_eq!((first.len(), first[0].as_str()), (20, "queue k of Float(1.0)"));
    assert_eq!(step(&mut queue, &mut notes, 20, 1.0), ["capture 20", "replay 1"]);
    assert_eq!(step(&mut queue, &mut notes, 20, 1.0), ["replay 1"]);
    // Whatever differs is another step.
    assert_eq!(step(&mut queue, &mut notes, 20, -0.0).len(), 20);
    assert_eq!(step(&mut queue, &mut notes, 20, 0.0).len(), 20);
    assert_eq!(step(&mut queue, &mut notes, 21, 1.0).len(), 21);
    assert_eq!(step(&mut queue, &mut notes, 20, 1.0), ["replay 1"]);
    assert!(step(&mut queue, &mut notes, 0, 1.0).is_empty());
}

#[test]
fn short_steps_and_refused_ones_are_queued_piece_by_piece() {
    let (mut queue, mut notes) = (Queue::default(), Notes { refuses: true, ..Notes::default() });
    for _ in 0..3 {
        assert_eq!(step(&mut queue, &mut notes, 3, 1.0).len(), 3);
    }
    assert_eq!(step(&mut queue, &mut notes, 20, 1.0).len(), 20);
    let refused = step(&mut queue, &mut notes, 20, 1.0);
    assert_eq!((refused.len(), refused[0].as_str()), (21, "capture 20"), "the device is asked once");
    assert_eq!(step(&mut queue, &mut notes, 20, 1.0).len(), 20);
}

#[test]
fn numbers_are_written_before_the_step_that_reads_them_and_do_not_make_it_another() {
    let (mut queue, mut notes) = (Queue::default(), Notes::default());
    let mut all = Vec::new();
    for value in [1u8, 2, 3] {
        let places = [queue.numbers(&mut notes, &[value; 3]), queue.numbers(&mut notes, &[value])];
        assert_eq!(places, [4096, 4112], "the same places in each step");
        all.push(step(&mut queue, &mut notes, 20, 1.0));
    }
    let written = |value: u8| {
        let mut bytes = vec![0; 32];
        bytes[..3].fill(value);
        bytes[16] = value;
        format!("write 4096: {bytes:?}")
    };
    assert_eq!((all[0].len(), all[0][0].as_str()), (21, written(1).as_str()));
    assert_eq!(all[1], [written(2).as_str(), "capture 20", "replay 1"]);
    assert_eq!(all[2], [written(3).as_str(), "replay 1"]);
    // More than fits begins a new list.
    notes.lines.clear();
    queue.push(Work::Launch(launch!("k", [1, 1, 1], 1.0)));
    queue.numbers(&mut notes, &vec![7; 1 << 20]);
    assert!(notes.lines.is_empty());
    assert_eq!(queue.numbers(&mut notes, &[8]), 4096);
    assert!(notes.lines[0].starts_with("write 4096: [7, 7"));
    assert_eq!(notes.lines[1], "queue k of Float(1.0)");
}
