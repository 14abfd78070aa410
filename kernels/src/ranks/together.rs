//! Several ranks in one process. Tests only, here and in the crates above; it is part of the library for theirs.

#![expect(clippy::unwrap_used, reason = "for tests")]

use std::net::TcpListener;
use std::thread;

use super::{Launch, Ranks, Waiting};

/// Runs `each` as so many ranks, each in a thread of its own; the answers in order of rank.
///
/// Rank 0 listens before the others look for it, on a port that nobody can take meanwhile.
pub fn together<R: Send>(size: usize, each: impl Fn(Ranks) -> R + Sync) -> Vec<R> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let launch = |rank| Launch { rank, size, local_rank: rank, address: address.clone(), command: 0 };
    thread::scope(|scope| {
        let each = &each;
        let (first, others) = (launch(0), (1..size).map(launch));
        let lead = move || Ranks::over(&first, first.accept(&listener, Waiting::patiently()).unwrap());
        let mut ranks = vec![scope.spawn(move || each(lead()))];
        let follow = |launch| move || each(Ranks::meet(&launch, Waiting::patiently()).unwrap());
        ranks.extend(others.map(|launch| scope.spawn(follow(launch))));
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
