//! The ring tried on real sockets: what arrives, what is sent, what is given up.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use super::*;

/// A connected pair: one end on the reactor, the other a blocking one with a time limit.
fn pair(ring: &Ring, group: Group) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    outside
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    outside
        .set_write_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (inside, _) = listener.accept().unwrap();
    (Socket::new(ring, OwnedFd::from(inside), group), outside)
}

fn on_ring<F, T>(test: impl FnOnce(Ring) -> F + 'static) -> T
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    run(test, || {}).unwrap()
}

async fn receive(socket: &Socket) -> Option<Vec<u8>> {
    poll_fn(|cx| socket.poll_receive(cx))
        .await
        .unwrap()
        .map(|lease| lease.bytes().to_vec())
}

fn lease_of(ring: &Ring, bytes: &[u8]) -> Lease {
    let mut lease = ring.lease(bytes.len()).unwrap();
    assert!(lease.append(bytes));
    lease
}

#[test]
fn bytes_arrive_one_shot_and_multishot_and_every_buffer_comes_back() {
    on_ring(async |ring| {
        for multishot in [false, true] {
            let (socket, mut outside) = pair(&ring, Group::Small);
            if multishot {
                socket.keep_receiving();
            }
            for i in 0..1000u32 {
                outside.write_all(&i.to_be_bytes()).unwrap();
                let mut got = Vec::new();
                while got.len() < 4 {
                    got.extend(receive(&socket).await.unwrap());
                }
                assert_eq!(got, i.to_be_bytes());
            }
            drop(outside);
            assert_eq!(receive(&socket).await, None);
        }
        assert_eq!(ring.leased(), (0, 0, 0));
    });
}

#[test]
fn a_long_stream_is_sent_whole_and_in_order_through_short_sends() {
    on_ring(async |ring| {
        let (socket, mut outside) = pair(&ring, Group::Large);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            outside.read_to_end(&mut all).unwrap();
            all
        });
        let mut expected = Vec::new();
        for i in 0..400u32 {
            let block: Vec<u8> = (0..20_000u32).map(|j| (i + j) as u8).collect();
            expected.extend_from_slice(&block);
            poll_fn(|cx| socket.poll_unsent(cx, 100_000)).await.unwrap();
            socket.send(lease_of(&ring, &block));
        }
        poll_fn(|cx| socket.poll_unsent(cx, 0)).await.unwrap();
        drop(socket);
        sleep_until(&ring, ring.now_ms() + 20).await;
        let got = reader.join().unwrap();
        assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
        assert_eq!(ring.leased().2, 0);
    });
}

#[test]
fn a_socket_nobody_reads_takes_no_more_than_its_share_and_loses_nothing() {
    on_ring(async |ring| {
        let (socket, mut outside) = pair(&ring, Group::Small);
        socket.keep_receiving();
        let writer = std::thread::spawn(move || {
            let block: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
            outside.write_all(&block).unwrap();
            block
        });
        let mut got = receive(&socket).await.unwrap();
        sleep_until(&ring, ring.now_ms() + 100).await;
        let (small, _, _) = ring.leased();
        // A multishot receive takes up to 32 in one go, and a few more times before its cancellation is heard.
        assert!(
            usize::from(small) <= limits::INBOX_LEASES_MAX + 4 * 32,
            "{small} buffers held by one socket"
        );
        while let Some(bytes) = receive(&socket).await {
            got.extend(bytes);
        }
        assert!(got == writer.join().unwrap());
    });
}

#[test]
fn sockets_that_found_no_buffer_are_served_when_one_comes_back() {
    on_ring(async |ring| {
        let pairs: Vec<_> = (0..usize::from(limits::SMALL_COUNT) * 2)
            .map(|_| pair(&ring, Group::Small))
            .collect();
        let mut outsides = Vec::new();
        let mut sockets = Vec::new();
        for (socket, mut outside) in pairs {
            socket.keep_receiving();
            outside.write_all(b"hello").unwrap();
            sockets.push(socket);
            outsides.push(outside);
        }
        // Everyone's receive is armed before anything is taken, so that the buffers run dry.
        poll_fn(|cx| {
            for socket in &sockets {
                assert!(socket.poll_gone(cx, true).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        sleep_until(&ring, ring.now_ms() + 50).await;
        for socket in &sockets {
            assert_eq!(receive(socket).await.unwrap(), b"hello");
        }
        assert!(ring.counters().buffer_exhausted > 0);
        assert_eq!(ring.leased().0, 0);
    });
}

/// Slow readers hold what was received for them; everyone else must still be served.
#[test]
fn a_ring_whose_buffers_are_all_held_grows_and_comes_back_down() {
    on_ring(async |ring| {
        let mut held = Vec::new();
        let (socket, mut outside) = pair(&ring, Group::Large);
        for _ in 0..limits::LARGE_COUNT * 2 {
            outside.write_all(b"held").unwrap();
            held.push(
                poll_fn(|cx| socket.poll_receive(cx))
                    .await
                    .unwrap()
                    .unwrap(),
            );
        }
        assert!(held.iter().all(|lease| lease.bytes() == b"held"));
        assert_eq!(ring.leased().1, limits::LARGE_COUNT * 2);
        held.clear();
        assert_eq!(ring.leased().1, 0);
        outside.write_all(b"again").unwrap();
        assert_eq!(receive(&socket).await.unwrap(), b"again");
    });
}

#[test]
fn a_dropped_socket_is_closed_though_its_receive_was_armed() {
    on_ring(async |ring| {
        let (socket, mut outside) = pair(&ring, Group::Small);
        socket.keep_receiving();
        poll_fn(|cx| {
            assert!(socket.poll_receive(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(socket);
        sleep_until(&ring, ring.now_ms() + 50).await;
        assert_eq!(ring.sockets(), 0);
        assert_eq!(outside.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn an_unattended_socket_reports_once_what_happens_to_it() {
    use std::cell::RefCell;
    use std::rc::Rc;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let handle: Rc<RefCell<Option<Ring>>> = Rc::default();
    let (tags, inner) = (Rc::clone(&seen), Rc::clone(&handle));
    let after_turn = move || {
        if let Some(ring) = &*inner.borrow() {
            let mut batch = Vec::new();
            ring.take_unattended(&mut batch);
            tags.borrow_mut().extend(batch);
        }
    };
    let main = async move |ring: Ring| {
        *handle.borrow_mut() = Some(ring.clone());
        let (first, mut outside) = pair(&ring, Group::Small);
        let (second, other) = pair(&ring, Group::Small);
        first.leave(11);
        second.leave(22);
        outside.write_all(b"x").unwrap();
        drop(other);
        sleep_until(&ring, ring.now_ms() + 60).await;
        outside.write_all(b"y").unwrap();
        sleep_until(&ring, ring.now_ms() + 60).await;
        let mut got = seen.borrow().clone();
        got.sort_unstable();
        assert_eq!(got, [11, 22]);
        first.attend();
        assert_eq!(receive(&first).await.unwrap(), b"x");
        assert_eq!(receive(&first).await.unwrap(), b"y");
        handle.borrow_mut().take();
    };
    run(main, after_turn).unwrap();
}

/// A socket for whose 1000 bytes somebody waits, of which 10 have arrived, and its other end.
async fn waiting_for_many(ring: &Ring) -> (Socket, TcpStream) {
    let (socket, mut outside) = pair(ring, Group::Small);
    poll_fn(|cx| {
        assert!(socket.poll_arrival(cx, 1000).is_pending());
        Poll::Ready(())
    })
    .await;
    outside.write_all(&[b'x'; 10]).unwrap();
    // What another socket brings after that is there: this one has been passed over.
    let (beside, mut other) = pair(ring, Group::Small);
    other.write_all(b"y").unwrap();
    receive(&beside).await;
    assert!(!socket.is_still(), "nothing is reported of so few");
    (socket, outside)
}

async fn until_still(socket: &Socket) {
    poll_fn(|cx| {
        if socket.is_still() {
            return Poll::Ready(());
        }
        socket.poll_arrival(cx, 1000)
    })
    .await;
}

#[test]
fn many_bytes_are_awaited_until_they_or_the_end_are_there() {
    on_ring(async |ring| {
        let (socket, mut outside) = waiting_for_many(&ring).await;
        outside.write_all(&[b'x'; 990]).unwrap();
        until_still(&socket).await;
        let (socket, outside) = waiting_for_many(&ring).await;
        drop(outside);
        until_still(&socket).await;
    });
}

#[test]
fn whoever_receives_after_many_bytes_were_awaited_hears_of_few() {
    on_ring(async |ring| {
        let (socket, _outside) = waiting_for_many(&ring).await;
        assert_eq!(receive(&socket).await.unwrap(), [b'x'; 10]);
    });
}

#[test]
fn a_socket_left_while_many_bytes_were_awaited_reports_few() {
    on_ring(async |ring| {
        let (socket, _outside) = waiting_for_many(&ring).await;
        socket.leave(7);
        let mut tags = Vec::new();
        while tags.is_empty() {
            sleep_until(&ring, ring.now_ms() + 1).await;
            ring.take_unattended(&mut tags);
        }
        assert_eq!(tags, [7]);
    });
}

#[test]
fn accepts_bring_the_peer_and_close_on_exec_and_end_when_stopped() {
    on_ring(async |ring| {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let listener = Listener::new(&ring, OwnedFd::from(listening));
        for _ in 0..100 {
            let client = TcpStream::connect(address).unwrap();
            let (fd, peer) = poll_fn(|cx| listener.poll_accept(cx))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            let flags = rustix::io::fcntl_getfd(&fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        listener.stop();
        assert!(
            poll_fn(|cx| listener.poll_accept(cx))
                .await
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn a_connect_that_is_dropped_leaves_no_descriptor() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    on_ring(async move |ring| {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let fd = Connect::new(&ring, address).unwrap().await.unwrap();
        drop(fd);
        drop(listening);
        assert!(Connect::new(&ring, address).unwrap().await.is_err());
        let before = descriptors();
        for _ in 0..50 {
            // TEST-NET would wait for ever where packets are dropped; here either end will do.
            drop(Connect::new(&ring, address).unwrap());
        }
        sleep_until(&ring, ring.now_ms() + 100).await;
        assert!(
            descriptors() <= before + 8,
            "{} descriptors, {before} before",
            descriptors()
        );
    });
}

#[test]
fn a_main_task_that_panics_ends_the_run() {
    assert!(run(async |_| panic!("meant"), || {}).is_err());
}

#[test]
fn a_panic_ends_its_task_alone_and_is_counted() {
    on_ring(async |ring| {
        let (socket, mut outside) = pair(&ring, Group::Small);
        ring.spawn(async move {
            let _held = socket;
            panic!("meant");
        });
        sleep_until(&ring, ring.now_ms() + 30).await;
        assert_eq!(outside.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(ring.counters().panics, 1);
        let outcome = ring.contain(async { panic!("{} kept", "this one") }).await;
        let outcome: Result<(), Panic> = outcome;
        assert_eq!(outcome, Err(Panic("this one kept".into())));
    });
}

#[test]
fn another_thread_wakes_a_reactor_that_waits() {
    on_ring(async |ring| {
        let remote = ring.remote().unwrap();
        let thread = std::thread::spawn(move || remote.raise());
        poll_fn(|cx| ring.poll_remote(cx)).await;
        thread.join().unwrap();
    });
}

#[test]
fn heads_are_rewritten_in_place_before_their_body() {
    on_ring(async |ring| {
        let mut lease = lease_of(&ring, b"HEAD body");
        assert!(lease.replace_prefix(5, b"a much longer head: "));
        assert_eq!(lease.bytes(), b"a much longer head: body");
        assert!(!lease.replace_prefix(0, &[b'x'; 1000]));
        lease.advance(20);
        lease.truncate(2);
        assert!(lease.prepend(b"[") && lease.append(b"]"));
        assert_eq!(lease.bytes(), b"[bo]");
    });
}

#[test]
fn a_busy_reactor_that_waits_for_several_is_content_with_one() {
    on_ring(async |ring| {
        let (sockets, mut outsides): (Vec<_>, Vec<_>) =
            (0..8).map(|_| pair(&ring, Group::Small)).unzip();
        {
            let state = &mut *ring.shared.state.borrow_mut();
            if !state.uring.params().is_feature_min_timeout() {
                eprintln!("not tried: the kernel waits for one or for all");
                return;
            }
            for passed_days in 1..=3 {
                // The last window began far in the future, so that none ends in here.
                let ns = passed_days * 86_400_000_000_000;
                state.together.look(ns, ns);
                state.together.slept(2, 100);
            }
        }
        for (tag, socket) in (1..).zip(&sockets[1..]) {
            socket.expect_soon();
            socket.leave(tag);
        }
        sockets[0].expect_soon();
        assert_eq!(ring.shared.state.borrow().together.completions(), 4);
        // The reactor's sleeps are limited by a timer, as they are where clients have time limits.
        let timer = Timer::new(&ring);
        timer.set(ring.now_ms() + 60_000);
        // Each byte is sent when the one before has come back: more than one never comes.
        let peer = std::thread::spawn(move || {
            for byte in 0..20 {
                outsides[0].write_all(&[byte]).unwrap();
                let mut back = [0];
                outsides[0].read_exact(&mut back).unwrap();
                assert_eq!(back, [byte]);
            }
            outsides
        });
        for _ in 0..20 {
            let bytes = receive(&sockets[0])
                .await
                .expect("the peer has not given up");
            assert_eq!(ring.shared.state.borrow().together.completions(), 3);
            sockets[0].expect_soon();
            sockets[0].send(lease_of(&ring, &bytes));
        }
        poll_fn(|cx| sockets[0].poll_unsent(cx, 0)).await.unwrap();
        let _outsides = peer.join().unwrap();
        drop(sockets);
        assert_eq!(ring.shared.state.borrow().together.completions(), 1);
    });
}
