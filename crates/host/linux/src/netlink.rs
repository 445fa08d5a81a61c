//! A netlink socket: requests to the kernel about one network namespace, and its answers.
//!
//! A socket belongs to the network namespace of the thread that opened it, for ever. The kernel does what a request says before sending
//! it returns, so that everything here is one short call and nothing waits for other processes.

mod message;

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

pub(crate) use message::{
    Message, Received, attribute, attributes, messages, network_u32_at, text, u16_at, u32_at,
};

/// More than the kernel puts into one datagram of a dump, which is at most 32 KiB; its own tools use this, too.
const DATAGRAM_BYTES: usize = 32 << 10;
/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: a refusal in words.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bytes in an answer before its words: the error number, and the header of the request it is about.
const ANSWER_BYTES: usize = 4 + message::HEADER_BYTES;

/// What the kernel refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NetlinkError {
    /// What was tried, as a verb: `add link glowplug0`.
    pub action: String,
    /// The kernel's reason as a number.
    #[source]
    pub errno: Errno,
    /// Its reason in words, if it had any.
    pub words: Option<String>,
}

impl std::fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}", self.action)?;
        self.words.as_ref().map_or(Ok(()), |words| write!(f, " ({words})"))
    }
}

/// What the kernel answered to a request: nothing more than yes, or its refusal.
type Answer = Result<(), (Errno, Option<String>)>;

/// A socket to one part of the kernel.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Opens one in the calling thread's network namespace.
    pub fn open(part: Option<Protocol>) -> Result<Self, NetlinkError> {
        let refused = |errno| NetlinkError { action: "open a netlink socket".to_owned(), errno, words: None };
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, part)
                .map_err(refused)?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            switch_on(&socket, option).map_err(refused)?;
        }
        Ok(Self(socket))
    }

    /// Sends a request that is answered with yes or no. `action` says what it is about, as a verb.
    pub fn request(&self, action: impl FnOnce() -> String, message: Message) -> Result<(), NetlinkError> {
        self.send_all(action, &message.finish(1))
    }

    /// Sends messages of which one wants an answer, or several are refused: what comes first tells.
    pub fn send_all(&self, action: impl FnOnce() -> String, messages: &[u8]) -> Result<(), NetlinkError> {
        let outcome = self.send(messages).and_then(|()| {
            let mut heard: Option<Answer> = None;
            while heard.is_none() {
                self.receive(|message| {
                    if heard.is_none() && i32::from(message.kind) == libc::NLMSG_ERROR {
                        heard = Some(answer(message));
                    }
                })?;
            }
            heard.unwrap_or(Ok(()))
        });
        outcome.map_err(|(errno, words)| NetlinkError { action: action(), errno, words })
    }

    /// Asks for one thing or for a list, and gives each body to `take`.
    pub fn ask(
        &self,
        action: impl FnOnce() -> String,
        message: Message,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), NetlinkError> {
        let mut end: Option<Answer> = None;
        let outcome = self.send(&message.finish(1)).and_then(|()| {
            while end.is_none() {
                self.receive(|message| match i32::from(message.kind) {
                    // One thing is followed by its acknowledgement, a list by this.
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => end = Some(answer(message)),
                    _ => take(message.body),
                })?;
            }
            end.unwrap_or(Ok(()))
        });
        outcome.map_err(|(errno, words)| NetlinkError { action: action(), errno, words })
    }

    fn send(&self, bytes: &[u8]) -> Answer {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, bytes, SendFlags::empty()))
            .map(drop)
            .map_err(|errno| (errno, None))
    }

    fn receive(&self, mut take: impl FnMut(Received<'_>)) -> Answer {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let (length, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())
        })
        .map_err(|errno| (errno, None))?;
        messages(&buffer[..length]).for_each(&mut take);
        Ok(())
    }
}

/// What a message of type `NLMSG_ERROR` or `NLMSG_DONE` says.
fn answer(message: Received<'_>) -> Answer {
    let number = u32_at(message.body, 0).unwrap_or_default().cast_signed();
    if number == 0 {
        return Ok(());
    }
    let has_words = i32::from(message.flags) & libc::NLM_F_ACK_TLVS != 0;
    let words = message.body.get(ANSWER_BYTES..).filter(|_| has_words);
    let words = words.and_then(|attributes| attribute(attributes, NLMSGERR_ATTR_MSG)).map(text);
    Err((Errno::from_raw_os_error(number.saturating_neg()), words))
}

/// Switches a netlink option on: refusals in words, and answers that do not repeat the request.
fn switch_on(socket: &OwnedFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads as many bytes of `on` as it is told, during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(crate::process::last_errno()) }
}
