//! What the kernel's verifier says of a program that it refuses: which line of the source, and why.

use crate::error::Rejected;

/// Reads a log. Lines of the source stand as `; text @ file:line` before the instructions that come from them; the reason is the last line
/// but for the statistics.
pub(crate) fn read(program: &str, log: &str, error: &std::io::Error) -> Rejected {
    let mut line = None;
    let mut reason = None;
    for text in log.lines() {
        if let Some(source) = text.trim_start().strip_prefix("; ") {
            line = place(source).or(line);
        } else if !is_statistics(text) && !text.trim().is_empty() {
            reason = Some(text.trim());
        }
    }
    let reason = match reason {
        Some(reason) if !is_instruction(reason) => reason.to_string(),
        _ => error.to_string(),
    };
    Rejected { program: program.to_string(), line, reason, log: log.to_string() }
}

/// `text @ file:line`. Kernels before 6.8 give the text only.
fn place(source: &str) -> Option<(String, u32, String)> {
    let (text, place) = source.rsplit_once(" @ ")?;
    let (file, line) = place.rsplit_once(':')?;
    Some((file.to_string(), line.trim().parse().ok()?, text.trim().to_string()))
}

/// Lines that tell how much work it was, or where another run of the verifier begins.
fn is_statistics(text: &str) -> bool {
    ["processed ", "verification time ", "stack depth ", "peak_states "].iter().any(|start| text.starts_with(start))
}

/// `12: (61) r1 = ...`
fn is_instruction(text: &str) -> bool {
    text.split_once(": (").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_and_the_reason_are_found() {
        let log = "func#0 @0\n0: R1=ctx() R10=fp0\n; on packet(p) { @ box.grv:12\n0: (61) r6 = *(u32 *)(r1 +0)\n; emit out; @ box.grv:14\n\
                   1: (71) r7 = *(u8 *)(r6 +12)\ninvalid access to packet, off=12 size=1, R6(id=0,off=12,r=0)\nR6 offset is outside of the packet\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";
        let error = std::io::Error::from_raw_os_error(13);
        let rejected = read("gate", log, &error);
        assert_eq!(rejected.line, Some(("box.grv".to_string(), 14, "emit out;".to_string())));
        assert_eq!(rejected.reason, "R6 offset is outside of the packet");
        assert_eq!(
            rejected.to_string(),
            "the kernel refuses the program `gate`\n  at box.grv:14: emit out;\n  because: R6 offset is outside of the packet"
        );
    }

    #[test]
    fn without_a_log_the_error_is_the_reason() {
        let error = std::io::Error::from_raw_os_error(1);
        let rejected = read("gate", "", &error);
        assert_eq!((rejected.line, rejected.reason), (None, error.to_string()));
    }
}
