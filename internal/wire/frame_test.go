package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFramesArriveWholeHoweverTheyAreCut(t *testing.T) {
	big := exampleAppend(100, 20_000)
	stream := AppendKeepalive(nil)
	for _, m := range exampleMessages() {
		stream = append(stream, frameBytes(&m)...)
	}
	stream = append(stream, frameBytes(&big)...)
	stream = AppendKeepalive(stream)

	readers := map[string]io.Reader{
		"whole":   bytes.NewReader(stream),
		"halves":  iotest.HalfReader(bytes.NewReader(stream)),
		"bytes":   iotest.OneByteReader(bytes.NewReader(stream)),
		"at once": iotest.DataErrReader(bytes.NewReader(stream)),
	}
	for name, r := range readers {
		frames, again := NewFrameReader(r, 8<<20), []byte(nil)
		for {
			f, err := frames.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
			at := len(again)
			again = endFrame(append(beginFrame(again), f.Head...), at, f.Type, len(f.Body))
			again = append(again, f.Body...)
			require.Equal(t, len(again)-at, f.Size())
		}
		require.True(t, bytes.Equal(stream, again), name)
	}
}

func TestFrameCutShortIsNotTheEndOfTheConnection(t *testing.T) {
	m := exampleAppend(2, 100)
	whole := frameBytes(&m)
	for cut := 1; cut < len(whole); cut++ {
		_, err := NewFrameReader(bytes.NewReader(whole[:cut]), 8<<20).Next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut after %d bytes", cut)
	}
}

func TestFrameLengthIsCheckedBeforeAnythingIsAllocatedForIt(t *testing.T) {
	claim := func(head, body uint32) []byte {
		b := endFrame(beginFrame(nil), 0, FrameMessage, 0)
		binary.BigEndian.PutUint32(b[8:], head)
		binary.BigEndian.PutUint32(b[12:], body)
		return append(b, "some bytes that follow"...)
	}
	for _, b := range [][]byte{
		claim(0xffffffff, 0xffffffff), claim(0, 0xffffffff), claim(0xffffffff, 0), claim(8<<20, 0), claim(0, 8<<20-15),
	} {
		_, err := NewFrameReader(bytes.NewReader(b), 8<<20).Next()
		require.ErrorIs(t, err, ErrMalformed)
	}

	// A length within the limit is believed only as far as bytes arrive.
	r := NewFrameReader(bytes.NewReader(claim(1<<30, 0)), 2<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := r.Next()
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestFrameRefusesGarbage(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 0123456789",
		"\x94\x00\x01\xa4ping\x90\x94\x00\x01\xa4ping\x90", string(make([]byte, 64)), PeerMagic + PeerMagic,
	} {
		_, err := NewFrameReader(bytes.NewReader([]byte(text)), 8<<20).Next()
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
	}
}

func TestBodyIsNeverOverwrittenByTheNextFrame(t *testing.T) {
	one, two := exampleAppend(3, 50), exampleAppend(3, 60)
	r := NewFrameReader(bytes.NewReader(append(frameBytes(&one), frameBytes(&two)...)), 8<<20)
	first, err := r.Next()
	require.NoError(t, err)
	require.True(t, r.Ready())
	_, err = r.Next()
	require.NoError(t, err)
	require.False(t, r.Ready())
	require.Equal(t, one.Blocks[0].Bytes(), first.Body)
}

func TestFrameIsReadyOnlyOnceItIsThereWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := exampleAppend(1, 40)
		b := append(AppendKeepalive(nil), frameBytes(&m)...)
		cut := rapid.IntRange(FrameHeaderSize, len(b)).Draw(t, "arrived")
		r := NewFrameReader(bytes.NewReader(b[:cut]), 8<<20)
		_, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, cut == len(b), r.Ready())
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(AppendKeepalive(AppendKeepalive(nil)))
	for _, m := range exampleMessages() {
		f.Add(frameBytes(&m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewFrameReader(bytes.NewReader(b), 1<<20)
		for read := 0; ; {
			frame, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					require.ErrorIs(t, err, ErrMalformed)
				}
				return
			}
			again := endFrame(append(beginFrame(nil), frame.Head...), 0, frame.Type, len(frame.Body))
			require.Equal(t, b[read:read+frame.Size()], append(again, frame.Body...))
			read += frame.Size()
		}
	})
}
