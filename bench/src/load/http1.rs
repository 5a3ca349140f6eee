//! HTTP/1.1, the client's side: answers come in the order of the requests.

use std::{collections::VecDeque, io::IoSlice, time::Instant};

use super::{
    protocol::{ErrorKind, Exchange, Finished, Protocol, SLICES_MAX},
    request::Requests,
};
use crate::{
    http1::{Event, ResponseReader},
    pattern,
};

#[derive(Default)]
pub(super) struct Http1 {
    in_flight: VecDeque<Exchange>,
    /// So many of the youngest in flight have bytes left to send.
    unsent: usize,
    /// Bytes sent of the first of those.
    offset: usize,
    reader: ResponseReader,
    status: u16,
    content_bytes: u64,
    mismatched: bool,
    /// An answer said that it is the last one.
    last: bool,
}

impl Protocol for Http1 {
    fn begin(&mut self, exchange: Exchange) {
        self.in_flight.push_back(exchange);
        self.unsent += 1;
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn oldest(&self) -> Option<Instant> {
        self.in_flight.front().map(|exchange| exchange.begun)
    }

    fn gather<'a>(&self, requests: &'a Requests, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut filled = 0;
        let mut skip = self.offset;
        for exchange in self
            .in_flight
            .iter()
            .skip(self.in_flight.len() - self.unsent)
        {
            for part in [requests.head(exchange.request), requests.body()] {
                if filled == SLICES_MAX {
                    return filled;
                }
                let rest = &part[skip.min(part.len())..];
                skip -= part.len() - rest.len();
                if !rest.is_empty() {
                    slices[filled] = IoSlice::new(rest);
                    filled += 1;
                }
            }
        }
        filled
    }

    fn sent(&mut self, bytes: usize, requests: &Requests) {
        self.offset += bytes;
        while self.unsent > 0 {
            let exchange = self.in_flight[self.in_flight.len() - self.unsent];
            let len = requests.head(exchange.request).len() + requests.body().len();
            if self.offset < len {
                break;
            }
            self.offset -= len;
            self.unsent -= 1;
        }
    }

    fn receive(
        &mut self,
        mut input: &[u8],
        requests: &Requests,
        finished: &mut Vec<Finished>,
    ) -> Result<(), ErrorKind> {
        while let Some(event) = self
            .reader
            .next(&mut input, requests.is_head())
            .map_err(|_| ErrorKind::Malformed)?
        {
            match event {
                // Nobody asked for this answer.
                Event::Head(_) if self.in_flight.is_empty() => return Err(ErrorKind::Malformed),
                Event::Head(head) => {
                    self.status = head.status;
                    self.content_bytes = 0;
                    self.mismatched = false;
                    self.last |= !head.keep_alive;
                }
                Event::Content(content) => {
                    let checks = requests.checks();
                    if checks.pattern
                        && !self.mismatched
                        && !pattern::matches(self.content_bytes, content)
                    {
                        self.mismatched = true;
                    }
                    self.content_bytes += content.len() as u64;
                }
                Event::End => self.finish(requests, finished),
            }
        }
        Ok(())
    }

    fn unseen(&self, requests: &Requests) -> u64 {
        if requests.checks().pattern {
            0
        } else {
            self.reader.content_left()
        }
    }

    fn dropped(
        &mut self,
        bytes: usize,
        requests: &Requests,
        finished: &mut Vec<Finished>,
    ) -> Result<(), ErrorKind> {
        self.content_bytes += bytes as u64;
        self.reader.skip_content(bytes as u64);
        self.receive(&[], requests, finished)
    }

    fn end_of_stream(&mut self, requests: &Requests, finished: &mut Vec<Finished>) {
        if self.reader.ends_with_connection() {
            self.finish(requests, finished);
        }
    }

    fn is_reusable(&self) -> bool {
        !self.last
    }

    fn abandon(&mut self, unfinished: &mut Vec<Exchange>) -> bool {
        let announced = self.last && !self.reader.is_inside();
        unfinished.extend(self.in_flight.drain(..));
        self.reader.reset();
        self.unsent = 0;
        self.offset = 0;
        self.last = false;
        announced
    }
}

impl Http1 {
    fn finish(&mut self, requests: &Requests, finished: &mut Vec<Finished>) {
        let Some(exchange) = self.in_flight.pop_front() else {
            return;
        };
        if self.unsent > self.in_flight.len() {
            // The answer came before its request was sent to the end: the rest would be taken for the next request.
            self.unsent -= 1;
            self.offset = 0;
            self.last = true;
        }
        let checks = requests.checks();
        let outcome = if !(200..300).contains(&self.status) {
            Err(ErrorKind::Non2xx)
        } else if self.mismatched
            || checks
                .bytes
                .is_some_and(|bytes| bytes != self.content_bytes)
        {
            Err(ErrorKind::BodyMismatch)
        } else {
            Ok(self.content_bytes)
        };
        finished.push(Finished { exchange, outcome });
    }
}
