package limit

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// An answer of a backup: kind and number; a batch's means that it and all before it are durable.
const answerBytes = 1 + 8

// backup is one of the two that follow. One goroutine reads, appends and answers; what arrives meanwhile waits in the
// socket and shares the next sync.
type backup struct {
	conn    net.Conn
	journal journal
	syncs   *atomic.Uint64
	machine machine
	waiting [][]byte // durable here and not known to be durable at two
	first   uint64   // number of waiting[0]
	spare   [][]byte
	frames  [][]byte
	answers []byte
}

func (b *backup) run() error {
	in := bufio.NewReaderSize(b.conn, 1<<20)
	for {
		if err := b.turn(in); err != nil {
			return err
		}
	}
}

// turn takes all that has arrived, makes it durable with one sync, and answers.
func (b *backup) turn(in *bufio.Reader) error {
	frames, answers := b.frames[:0], b.answers[:0]
	first, commit := uint64(0), uint64(0)
	for more := true; more; more = buffered(in) {
		frame, err := readFrame(in, b.buffer())
		if err != nil {
			return err
		}
		number := binary.LittleEndian.Uint64(frame[9:])
		if frame[8] == kindConfirm {
			answers = appendAnswer(answers, kindConfirm, number)
			b.spare = append(b.spare, frame)
			continue
		}
		if len(frames) == 0 {
			first = number
		}
		frames, commit = append(frames, frame), binary.LittleEndian.Uint64(frame[17:])
	}
	b.frames, b.answers = frames, answers
	if len(frames) > 0 {
		b.syncs.Add(1)
		if err := b.journal.append(first, frames); err != nil {
			return err
		}
		answers = appendAnswer(answers, kindBatch, first+uint64(len(frames))-1)
	}
	if _, err := b.conn.Write(answers); err != nil {
		return err
	}
	return b.keep(first, frames, commit)
}

// keep applies what is committed and keeps the rest for later.
func (b *backup) keep(first uint64, frames [][]byte, commit uint64) error {
	if len(frames) == 0 {
		return nil
	}
	if len(b.waiting) == 0 {
		b.first = first
	}
	b.waiting = append(b.waiting, frames...)
	n := 0
	for ; n < len(b.waiting) && b.first+uint64(n) <= commit; n++ {
		if err := b.machine.apply(b.waiting[n]); err != nil {
			return err
		}
		b.spare = append(b.spare, b.waiting[n])
	}
	b.waiting = append(b.waiting[:0], b.waiting[n:]...)
	b.first += uint64(n)
	return nil
}

func (b *backup) buffer() []byte {
	if n := len(b.spare); n > 0 {
		buf := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return buf
	}
	return nil
}

func appendAnswer(b []byte, kind byte, number uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, kind), number)
}
