//! Long bodies with a length may pass another way than short ones: nobody may see where one way ends and the other begins.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringway_tests::client::get;
use ringway_tests::origin::ok;
use ringway_tests::pattern::{Check, Pattern};
use ringway_tests::wire::{Framing, Wire};
use ringway_tests::{Client, Config, Origin, Proxy, Signal};

use super::bodies::{count_upload, each_piece, framing_field, ok_head, send_pattern};

/// Around a small and a large buffer, a pipe, and what is worth one; short ones between, so that each way follows the other.
const LENGTHS: [u64; 16] = [
    1, 8191, 8193, 16_383, 300, 16_385, 32_768, 49_152, 0, 65_537, 131_072, 524_288, 7, 524_289,
    1_500_000, 65_536,
];

/// Where a source pauses: in its first piece and in later ones, close behind another pause, and one byte before the end.
const PAUSES: [u64; 10] = [
    100_000, 600_000, 2_000_000, 2_000_001, 2_300_000, 4_000_000, 4_100_000, 7_000_000, 8_999_999,
    9_000_000,
];

/// More than a client's socket, its proxy's and a pipe take.
const STALLING_BYTES: u64 = 64 * 1024 * 1024;

/// Answers each request with as much of the pattern as its path says.
fn patterned_origin() -> Origin {
    Origin::script(|connection| {
        while let Some(head) = connection.read_head() {
            let bytes = head.start.split('/').nth(1).expect("a path");
            let bytes = bytes.split(' ').next().expect("a number").parse();
            let bytes: u64 = bytes.expect("a number");
            let framing = Framing::Length(bytes);
            connection.send(ok_head(framing)).expect("taken");
            let mut sender = connection.sender();
            // Whoever asked may have gone.
            if each_piece(0..bytes, |piece| sender.write_all(piece)).is_err() {
                return;
            }
        }
    })
}

fn assert_pattern(client: &mut Client, bytes: u64) {
    let head = client.read_head();
    assert_eq!(head.value("content-length"), Some(&*bytes.to_string()));
    let mut check = Check::new();
    client
        .wire()
        .pass_body(Framing::Length(bytes), &mut |piece| check.take(piece))
        .expect("it ends cleanly");
    assert_eq!(check.seen(), bytes);
}

#[test]
fn answers_of_every_length_follow_each_other_on_one_connection() {
    let origin = patterned_origin();
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for bytes in LENGTHS.into_iter().chain(LENGTHS.into_iter().rev()) {
        client.send(get(&format!("/{bytes}")));
        assert_pattern(&mut client, bytes);
    }
    for bytes in LENGTHS {
        client.send(get(&format!("/{bytes}")));
    }
    for bytes in LENGTHS {
        assert_pattern(&mut client, bytes);
    }
}

#[test]
fn uploads_of_every_length_follow_each_other_on_one_connection() {
    let origin = Origin::script(|connection| {
        while let Some(head) = connection.read_head() {
            count_upload(connection, &head);
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    let put = |client: &mut Client, bytes: u64| {
        client.send(format!(
            "PUT / HTTP/1.1\r\nHost: site.example\r\n{}\r\n",
            framing_field(Framing::Length(bytes))
        ));
        send_pattern(client.sender(), Framing::Length(bytes), bytes);
    };
    for bytes in LENGTHS.into_iter().chain(LENGTHS.into_iter().rev()) {
        put(&mut client, bytes);
        assert_eq!(client.read_response().text(), bytes.to_string());
    }
    for bytes in LENGTHS {
        put(&mut client, bytes);
    }
    for bytes in LENGTHS {
        assert_eq!(client.read_response().text(), bytes.to_string());
    }
}

/// Each piece reaches the client before the next one exists, however it passes, and a slow source may become a fast one.
#[test]
fn pieces_of_a_long_answer_pass_as_they_come() {
    const PIECES: u64 = 40;
    const PIECE_BYTES: u64 = 1000;
    const BYTES: u64 = 2_000_000;
    let seen = Signal::new();
    let raise = seen.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection
            .send(ok_head(Framing::Length(BYTES)))
            .expect("taken");
        let pattern = Pattern::new();
        let mut at = 0;
        while at < BYTES {
            let most = if at < PIECES * PIECE_BYTES {
                PIECE_BYTES - at % PIECE_BYTES
            } else {
                BYTES - at
            };
            let piece = pattern.from(at, most);
            connection.send(piece).expect("taken");
            at += piece.len() as u64;
            if at <= PIECES * PIECE_BYTES && at.is_multiple_of(PIECE_BYTES) {
                seen.wait();
            }
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/"));
    client.read_head();
    let mut check = Check::new();
    for _ in 0..PIECES {
        let piece = client
            .wire()
            .read_exactly(PIECE_BYTES as usize)
            .expect("a piece");
        check.take(&piece);
        raise.raise();
    }
    let rest = Framing::Length(BYTES - check.seen());
    client
        .wire()
        .pass_body(rest, &mut |piece| check.take(piece))
        .expect("the rest");
    assert_eq!(check.seen(), BYTES);
}

/// A source that was fast may pause wherever it likes, and what it has sent reaches the other side all the same.
#[test]
fn what_a_fast_origin_sent_before_a_pause_passes_before_it_goes_on() {
    answer_with_pauses(|sender| sender);
}

#[test]
fn what_a_fast_client_sent_before_a_pause_passes_before_it_goes_on() {
    let seen = Signal::new();
    let raise = seen.clone();
    let origin = Origin::script(move |connection| {
        connection.read_head();
        take_with_pauses(connection.wire(), &raise);
        connection.send(ok("done")).expect("taken");
    });
    let proxy = prompt(&origin);
    let mut client = proxy.client();
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: site.example\r\n{}\r\n",
        framing_field(Framing::Length(PAUSES[PAUSES.len() - 1]))
    ));
    send_with_pauses(client.sender(), &seen);
    assert_eq!(client.read_response().text(), "done");
}

/// A pipe takes a fragment for each of its pages, however short it is: bytes that come in short ones fill it early.
#[test]
fn what_a_fast_origin_sent_in_fragments_passes_before_it_goes_on() {
    answer_with_pauses(Fragments::of);
}

/// Once it has been seen to be fast, sends short pieces in turns with another socket's, so that no two of them lie side by side
/// in the kernel's memory.
struct Fragments {
    whole: usize,
    sender: TcpStream,
    beside: TcpStream,
}

impl Fragments {
    fn of(sender: TcpStream) -> Fragments {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let beside = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut drain, _) = listener.accept().expect("it connected");
        std::thread::spawn(move || io::copy(&mut drain, &mut io::sink()));
        Fragments {
            whole: 300_000,
            sender,
            beside,
        }
    }
}

impl Write for Fragments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.whole > 0 {
            let sent = self.sender.write(bytes)?;
            self.whole = self.whole.saturating_sub(sent);
            return Ok(sent);
        }
        let most = bytes.len().min(1000);
        self.beside.write_all(&bytes[..most])?;
        self.sender.write(&bytes[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A proxy to `origin` that gives an exchange up before it next looks who is idle (every ten seconds), which also moves what
/// is there.
fn prompt(origin: &Origin) -> Proxy {
    Config::to(origin)
        .route("upstream = \"app\"\ntimeout = \"8s\"")
        .start()
}

/// A client takes an answer with pauses, which goes through what `through` makes of the origin's sender.
fn answer_with_pauses<W: Write>(through: impl Fn(TcpStream) -> W + Send + Sync + 'static) {
    let seen = Signal::new();
    let raise = seen.clone();
    let origin = Origin::script(move |connection| {
        connection.read_request();
        connection
            .send(ok_head(Framing::Length(PAUSES[PAUSES.len() - 1])))
            .expect("taken");
        send_with_pauses(through(connection.sender()), &seen);
    });
    let proxy = prompt(&origin);
    let mut client = proxy.client();
    client.send(get("/"));
    client.read_head();
    take_with_pauses(client.wire(), &raise);
}

/// The pattern, up to each of the places in turn; what was sent has arrived before it goes on.
fn send_with_pauses(mut sender: impl Write, seen: &Signal) {
    let mut at = 0;
    for pause in PAUSES {
        each_piece(at..pause, |piece| sender.write_all(piece)).expect("taken");
        seen.wait();
        at = pause;
    }
}

fn take_with_pauses(wire: &mut Wire, raise: &Signal) {
    let mut check = Check::new();
    for pause in PAUSES {
        let part = Framing::Length(pause - check.seen());
        wire.pass_body(part, &mut |piece| check.take(piece))
            .expect("all that was sent");
        raise.raise();
    }
}

#[test]
fn an_answer_cut_short_ends_where_its_origin_ended_it() {
    const SENT: u64 = 600_000;
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send(ok_head(Framing::Length(SENT * 2)))
            .expect("taken");
        send_pattern(connection.sender(), Framing::Length(SENT), SENT);
        connection.close();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get("/cut"));
    client.read_head();
    let mut check = Check::new();
    let cut = client
        .wire()
        .pass_body(Framing::Length(SENT * 2), &mut |piece| check.take(piece));
    assert!(cut.is_err(), "it must not look whole");
    assert_eq!(check.seen(), SENT, "and all that came passes");
    let record = proxy.access_record("/cut");
    assert_eq!(record.number("bytes"), SENT as f64);
    assert_eq!(record.text("error"), "body_truncated");
}

/// Clients that stop reading hold what lies between them and their origins: others are still served whatever they ask
/// for, and what they held is given back when they go.
#[test]
fn those_who_stall_hold_up_nobody_and_leave_nothing_behind() {
    // More than a worker has pipes.
    const STALLED: usize = 70;
    let origin = patterned_origin();
    let proxy = Config::to(&origin).start();
    proxy.get("/1000000");
    proxy.wait_until_idle();
    let before = proxy.fd_count();
    let mut stalled: Vec<_> = (0..STALLED).map(|_| proxy.client()).collect();
    for client in &mut stalled {
        client.send(get(&format!("/{STALLING_BYTES}")));
        client.read_head();
    }
    let mut beside = proxy.client();
    for bytes in LENGTHS {
        beside.send(get(&format!("/{bytes}")));
        assert_pattern(&mut beside, bytes);
    }
    drop(beside);
    drop(stalled);
    proxy.wait_until_idle();
    origin.wait_until("the origin's connections closed", |seen| seen.open <= 2);
    let after = proxy.fd_count();
    // A connection more may be kept to the origin.
    assert!(after <= before + 4, "{before} descriptors became {after}");
}

/// An origin may begin to answer before it has read the request: what of that is on its way still has to arrive.
#[test]
fn the_rest_of_an_upload_passes_though_the_answer_has_begun() {
    for bytes in [200_000, 1_000_000, 3_000_000, 8_000_000] {
        let seen = Signal::new();
        let raise = seen.clone();
        let origin = Origin::script(move |connection| {
            connection.read_head();
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
                .expect("taken");
            seen.wait();
            let mut check = Check::new();
            connection
                .wire()
                .pass_body(Framing::Length(bytes), &mut |piece| check.take(piece))
                .expect("all of it");
            connection.send("done").expect("taken");
        });
        let proxy = Config::to(&origin).start();
        let mut client = proxy.client();
        client.send(format!(
            "PUT / HTTP/1.1\r\nHost: site.example\r\n{}\r\n",
            framing_field(Framing::Length(bytes))
        ));
        let sender = client.sender();
        let sending = std::thread::spawn(move || {
            send_pattern(sender, Framing::Length(bytes), bytes);
        });
        client.read_head();
        raise.raise();
        let body = client.wire().read_exactly(4).expect("the answer");
        assert_eq!(body, b"done", "after {bytes} bytes");
        sending.join().expect("all was taken");
    }
}

/// Urgent data (RFC 9293 §3.8.5) is no part of the stream, and nothing to wait for.
#[test]
fn urgent_data_neither_stops_an_upload_nor_burns_cpu() {
    const BYTES: u64 = 1_000_000;
    const BEFORE: u64 = 200_000;
    let origin = Origin::script(|connection| {
        let head = connection.read_head().expect("a request");
        count_upload(connection, &head);
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: site.example\r\n{}\r\n",
        framing_field(Framing::Length(BYTES))
    ));
    send_pattern(client.sender(), Framing::Length(BEFORE), BEFORE);
    let urgent = rustix::net::send(client.sender(), b"!", rustix::net::SendFlags::OOB);
    assert_eq!(urgent, Ok(1));
    let mut sender = client.sender();
    each_piece(BEFORE..BYTES, |piece| sender.write_all(piece)).expect("taken");
    assert_eq!(client.read_response().text(), BYTES.to_string());
    let used = proxy.cpu_time();
    assert!(used < Duration::from_secs(2), "{used:?} of processor time");
}

/// A client that ends its side while its answer waits for room is gone, whatever it sent before.
#[test]
fn a_client_that_half_closes_over_a_stalled_answer_is_let_go() {
    let origin = patterned_origin();
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(get(&format!("/{STALLING_BYTES}")));
    client.read_head();
    origin.wait_until("the answer is asked for", |seen| seen.open == 1);
    // More than is taken in beside an answer, so that its end stays unseen.
    let more = get("/1");
    for _ in 0..100_000 / more.len() {
        client.send(&more);
    }
    client.finish_sending();
    let before = proxy.cpu_time();
    origin.wait_until("the connection to the origin closed", |seen| seen.open == 0);
    let used = proxy.cpu_time() - before;
    assert!(used < Duration::from_secs(1), "{used:?} of processor time");
}

/// What follows an answer on the origin's connection is nobody's.
#[test]
fn bytes_behind_a_long_answer_are_nobodys_answer() {
    const BYTES: u64 = 100_000;
    let origin = Origin::script(|connection| {
        while connection.read_request().is_some() {
            let mut answer = ok_head(Framing::Length(BYTES)).into_bytes();
            send_pattern(&mut answer, Framing::Length(BYTES), BYTES);
            answer.extend_from_slice(&ok("another's"));
            if connection.send(answer).is_err() {
                return;
            }
        }
    });
    let proxy = Config::to(&origin).start();
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    for _ in 0..10 {
        for client in &mut clients {
            client.send(get("/"));
        }
        for client in &mut clients {
            assert_pattern(client, BYTES);
        }
    }
    assert_eq!(origin.seen().accepted, 30, "no connection is used twice");
}
