use std::collections::HashMap;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::{Launch, Ranks, RanksError, Waiting, together};

#[test]
fn a_sum_is_the_same_on_every_rank() {
    let sums = together(4, |ranks| {
        let own = ranks.rank() as f64;
        let mut values = [own, 0.1 * own, f64::from(1u32 << ranks.rank())];
        ranks.sum(&mut values).unwrap();
        let mut long: Vec<f32> = (0..300_000).map(|i| i as f32 * own as f32).collect();
        ranks.sum_f32(&mut long).unwrap();
        let mut bytes = [255 - ranks.rank() as u8; 3];
        ranks.spread(&mut bytes).unwrap();
        assert_eq!(bytes, [255; 3]);
        (values, long)
    });
    assert_eq!(sums[0].0, [6.0, 0.1 + 0.2 + 0.1 * 3.0, 15.0]);
    assert_eq!(sums[0].1[299_999], 299_999.0 * 6.0);
    assert!(sums.iter().all(|sum| *sum == sums[0]));
}

#[test]
fn shares_cover_everything_once() {
    for size in [1, 2, 3, 8] {
        for items in [8, 9, 100] {
            let ranks = (0..size).map(|rank| Ranks { rank, others: size - 1, ..Ranks::default() });
            let all: Vec<usize> = ranks.flat_map(|ranks| ranks.share(items)).collect();
            assert_eq!(all, (0..items).collect::<Vec<_>>(), "{items} over {size}");
        }
    }
}

/// One fails in the first task: all learn why, and the second task is done as if nothing had been.
#[test]
fn a_task_that_is_given_up_does_not_disturb_the_next() {
    for failing in 0..3 {
        let answers = together(3, |ranks| {
            let task = |number: u8| -> Result<f64, RanksError> {
                // Long enough to fill what connections hold.
                let mut values = vec![f64::from(number); 500_000];
                if number == 1 && ranks.rank() == failing {
                    ranks.give_up("its disk is full");
                    return Ok(0.0);
                }
                ranks.sum(&mut values)?;
                Ok(values[0])
            };
            let mut answers = Vec::new();
            if ranks.leads() {
                for number in [1, 2] {
                    ranks.begin(&[number]).unwrap();
                    answers.push(task(number));
                }
                ranks.end();
            } else {
                while let Some(number) = ranks.next(&|| false).unwrap() {
                    answers.push(task(number[0]));
                }
            }
            answers
        });
        for (rank, answers) in answers.iter().enumerate() {
            if rank != failing {
                let why = answers[0].as_ref().unwrap_err().to_string();
                assert!(why.contains("its disk is full") && why.contains("given up"), "{rank}: {why}");
            }
            assert_eq!(*answers[1].as_ref().unwrap(), 6.0, "rank {rank}");
        }
    }
}

/// Rank 0 leaves tasks before their sums: whoever waits for one learns it, and is told the next.
#[test]
fn a_task_that_begins_too_early_is_not_lost() {
    let answers = together(2, |ranks| {
        let sum = || -> Result<f64, RanksError> {
            let mut value = [1.0];
            ranks.sum(&mut value)?;
            Ok(value[0])
        };
        if ranks.leads() {
            for number in [1, 2, 3] {
                ranks.begin(&[number]).unwrap();
                if number == 2 {
                    assert_eq!(sum().unwrap(), 2.0);
                }
            }
            ranks.end();
            return Vec::new();
        }
        let mut answers = Vec::new();
        while let Some(number) = ranks.next(&|| false).unwrap() {
            answers.push((number[0], sum().map_err(|error| error.to_string())));
        }
        answers
    });
    let [(1, Err(left)), (2, Ok(2.0)), (3, Err(ended))] = &answers[1][..] else { panic!("{:?}", answers[1]) };
    assert!(left.contains("rank 0 is through with task 1"), "{left}");
    assert!(ended.contains("rank 0 is through with task 3"), "{ended}");
}

#[test]
fn a_rank_that_is_gone_is_named() {
    let errors = together(3, |ranks| {
        if ranks.rank() == 2 {
            return String::new();
        }
        ranks.sum(&mut [1.0]).unwrap_err().to_string()
    });
    assert!(errors[0].starts_with("rank 2 is lost"), "{}", errors[0]);
    assert!(errors[1].contains("rank 2 is lost"), "{}", errors[1]);
}

#[test]
fn ranks_that_do_something_else_are_told() {
    let errors = together(2, |ranks| ranks.sum(&mut vec![1.0; 1 + ranks.rank()]).unwrap_err().to_string());
    assert!(errors[0].contains("rank 1 sums 16 bytes where this one sums 8"), "{}", errors[0]);
}

/// A port of our own, and the place of a rank of those that meet there.
fn place() -> (TcpListener, impl Fn(usize, usize) -> Launch + Clone) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let launch = move |rank, size| Launch { rank, size, local_rank: 0, address: address.clone(), command: 0 };
    (listener, launch)
}

fn sum(ranks: &Ranks) -> Result<f64, RanksError> {
    let mut value = [1.0];
    ranks.sum(&mut value)?;
    Ok(value[0])
}

#[test]
fn strangers_are_not_let_in() {
    let (listener, launch) = place();
    thread::scope(|scope| {
        let mut stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let first = launch(0, 2);
        let lead = move || sum(&Ranks::over(&first, first.accept(&listener, Waiting::patiently()).unwrap()));
        let first = scope.spawn(lead);
        std::io::Write::write_all(&mut stranger, &[b'x'; 100]).unwrap();
        let second = Ranks::meet(&launch(1, 2), Waiting::patiently()).unwrap();
        assert_eq!(sum(&second).unwrap(), 2.0);
        first.join().unwrap().unwrap();
    });
}

/// Long before those whom it waits for could come: in the tests below nobody does.
fn stopped_soon(wait: impl FnOnce(Waiting<'_>) -> RanksError) {
    let since = Instant::now();
    let stop = || since.elapsed() > Duration::from_millis(300);
    let error = wait(Waiting { stop: &stop, tell: &|_| () });
    assert!(matches!(error, RanksError::Stopped), "{error}");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

#[test]
fn who_only_waits_can_be_stopped() {
    let (listener, launch) = place();
    stopped_soon(|waiting| launch(0, 2).accept(&listener, waiting).unwrap_err());
    // While a stranger keeps it waiting for its first words.
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stopped_soon(|waiting| launch(0, 2).accept(&listener, waiting).unwrap_err());
    // While somebody listens who never answers.
    stopped_soon(|waiting| Ranks::meet(&launch(1, 2), waiting).unwrap_err());
    // While nobody listens, as at a port that no test is given.
    let nobody = Launch { address: "127.0.0.1:1".to_owned(), ..launch(1, 2) };
    stopped_soon(|waiting| Ranks::meet(&nobody, waiting).unwrap_err());
}

#[test]
fn a_rank_that_is_stopped_between_tasks_says_so() {
    let errors = together(3, |ranks| {
        match ranks.rank() {
            0 => ranks.begin(b"task").unwrap(),
            1 => stopped_soon(|waiting| ranks.next(waiting.stop).and_then(|_| ranks.next(waiting.stop)).unwrap_err()),
            _ => drop(ranks.next(&|| false).unwrap()),
        }
        if ranks.rank() == 1 { String::new() } else { sum(&ranks).unwrap_err().to_string() }
    });
    assert_eq!(errors[0], "rank 1 was stopped");
    assert_eq!(errors[2], "rank 0 has given up: rank 1 was stopped");
}

/// However many tasks have been begun since.
#[test]
fn a_rank_that_was_stopped_is_named_when_it_is_next_needed() {
    let errors = together(2, |ranks| {
        if !ranks.leads() {
            return ranks.next(&|| true).unwrap_err().to_string();
        }
        // The first ones go into a connection whose end has not been noticed yet.
        loop {
            if let Err(error) = ranks.begin(&[0; 1000]) {
                return error.to_string();
            }
        }
    });
    assert_eq!(errors, ["rank 1 was stopped", "stopped on request"]);
}

/// Rank 0 says whom it refused and goes on waiting; the other learns why, and may come again as it should be.
#[test]
fn ranks_that_differ_are_told() {
    let (listener, launch) = place();
    let told = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let (first, told) = (launch(0, 2), &told);
        let first = scope.spawn(move || {
            let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
            sum(&Ranks::over(&first, first.accept(&listener, Waiting { stop: &|| false, tell: &tell }).unwrap()))
        });
        let refused = Ranks::meet(&launch(1, 3), Waiting::patiently()).unwrap_err().to_string();
        assert!(
            refused.contains("refuses rank 1: it was started with WORLD_SIZE=3, rank 0 with WORLD_SIZE=2"),
            "{refused}"
        );
        let other = Launch { command: 7, ..launch(1, 2) };
        sum(&Ranks::meet(&other, Waiting::patiently()).unwrap()).unwrap();
        first.join().unwrap().unwrap();
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("refused rank 1: it was started with WORLD_SIZE=3"), "{told:?}");
    assert!(told[1].starts_with("rank 1 was started with another pipeline"), "{told:?}");
}

#[test]
fn a_rank_may_end_and_come_again_while_others_are_awaited() {
    let (listener, launch) = place();
    thread::scope(|scope| {
        let first = launch(0, 3);
        let lead = move || sum(&Ranks::over(&first, first.accept(&listener, Waiting::patiently()).unwrap()));
        let first = scope.spawn(lead);
        drop(Ranks::meet(&launch(1, 3), Waiting::patiently()).unwrap());
        let again = Ranks::meet(&launch(1, 3), Waiting::patiently()).unwrap();
        let twice = launch(2, 3);
        let third = scope.spawn(move || sum(&Ranks::meet(&twice, Waiting::patiently()).unwrap()));
        assert_eq!(sum(&again).unwrap(), 3.0);
        assert_eq!(third.join().unwrap().unwrap(), 3.0);
        first.join().unwrap().unwrap();
    });
}

#[test]
fn an_address_that_nobody_knows_is_an_error_soon() {
    let (_, launch) = place();
    // No name has an empty part: no server is asked.
    let lost = Launch { address: "no..where:29500".to_owned(), ..launch(1, 2) };
    let told = Mutex::new(Vec::new());
    let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
    let error = Ranks::meet(&lost, Waiting { stop: &|| false, tell: &tell }).unwrap_err().to_string();
    assert!(
        error.starts_with("rank 1 does not reach rank 0 at no..where:29500 (MASTER_ADDR, MASTER_PORT): "),
        "{error}"
    );
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("rank 1 waits for rank 0 at no..where:29500"), "{told:?}");
}

#[test]
fn the_environment_is_read_as_launchers_set_it() {
    let read = |variables: &[(&str, &str)]| {
        let known: HashMap<&str, &str> = variables.iter().copied().collect();
        Launch::read(|name| known.get(name).map(|text| (*text).to_owned())).map_err(|e| e.to_string())
    };
    assert_eq!(read(&[]), Ok(None));
    let place = [("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "10.0.0.1")];
    let launch = read(&[&place[..], &[("MASTER_PORT", "29500")]].concat()).unwrap().unwrap();
    assert_eq!(launch, Launch { rank: 1, size: 4, local_rank: 1, address: "10.0.0.1:29500".to_owned(), command: 0 });
    let last = read(&[&place[..], &[("MASTER_PORT", "65535")]].concat()).unwrap().unwrap();
    assert_eq!(last.address, "10.0.0.1:65535");
    let elastic = read(&[&place[..], &[("MASTER_PORT", "29500"), ("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat());
    assert_eq!(elastic.unwrap().unwrap().address, "10.0.0.1:29501");
    assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap().unwrap().size, 1);
    let port = |port| [&place[..], &[("MASTER_PORT", port)]].concat();
    let after = |port| [&place[..], &[("MASTER_PORT", port), ("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
    assert_eq!(read(&after("65534")).unwrap().unwrap().address, "10.0.0.1:65535");
    for (variables, wanted) in [
        (&port("65536")[..], "MASTER_PORT is 65536, but must be from 1 to 65535"),
        (&port("0"), "MASTER_PORT is 0, but must be from 1"),
        (&port(&usize::MAX.to_string()), "but must be from 1 to 65535"),
        (&after("65535"), "MASTER_PORT is 65535, but must be from 1 to 65534, for the port after it is taken"),
        (&[("RANK", "0")][..], "WORLD_SIZE is not"),
        (&[("WORLD_SIZE", "2")], "RANK is not"),
        (&[("RANK", "2"), ("WORLD_SIZE", "2")], "RANK is 2, but must be less"),
        (&[("RANK", "x"), ("WORLD_SIZE", "2")], "RANK is `x`"),
        (&place, "MASTER_PORT is not set"),
    ] {
        let error = read(variables).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}
