package server

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/internal/wire"
)

func TestOutboxGivesBackWhatWasLaidInOrderAndCountsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outbox
		var want, got []byte
		take := func() {
			o.seal()
			if o.bytes != len(want)-len(got) {
				t.Fatalf("counts %d bytes, holds %d", o.bytes, len(want)-len(got))
			}
			for pieces := o.pieces; len(pieces) > 0; {
				var some [][]byte
				some, pieces = cut(nil, pieces, rapid.IntRange(1, 100_000).Draw(t, "write"))
				got = append(got, bytes.Join(some, nil)...)
			}
			o.reset()
		}
		for k := range rapid.IntRange(0, 40).Draw(t, "answers") {
			answer := bytes.Repeat([]byte{byte(k + 1)}, rapid.SampledFrom([]int{0, 1, 90, 5_000, 20_000, 70_000}).Draw(t, "size"))
			want = append(want, answer...)
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				o.lay(func(b []byte) []byte { return append(b, answer...) })
			case 1:
				o.grown(append(o.room(len(answer)), answer...))
			default:
				o.refer(answer)
			}
			if rapid.IntRange(0, 5).Draw(t, "write now") == 0 {
				take()
			}
		}
		take()
		if !bytes.Equal(want, got) {
			t.Fatal("something else comes out than was laid")
		}
	})
}

// only is the connection that is being served.
func only(c *clients) *clientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.conns {
		return k
	}
	return nil
}

func (k *clientConn) unreadNow() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unread()
}

func TestAnswersThatAreBeingWrittenCountAsUnread(t *testing.T) {
	const unreadBytesMax, result, n = 100_000, 30_000, 20
	served(t, ClientOptions{UnreadBytesMax: unreadBytesMax}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.hold = true
		f.result = make([]byte, result)
		v := visit(t, c)
		for id := range uint32(n) {
			v.say(propose(id, "x"))
		}
		synctest.Wait()
		for range n {
			f.release(1)
			synctest.Wait() // the writer has taken what there is, and waits for the client
		}
		require.Greater(t, only(c).unreadNow(), unreadBytesMax-result)
		require.LessOrEqual(t, only(c).unreadNow(), unreadBytesMax+n*clientRequestOverhead)
		whole := 0
		for range n {
			r := v.hear()
			if r.Err != nil {
				require.ErrorIs(t, r.Err, ErrUnknown)
				continue
			}
			b, err := r.ClientBytes()
			require.NoError(t, err)
			require.Len(t, b, result)
			whole++
		}
		require.Equal(t, unreadBytesMax/result, whole)
		synctest.Wait()
		require.Zero(t, only(c).unreadNow())
	})
}

func TestRequestsUnderWayCountWithWhatTheyAreLikelyToBring(t *testing.T) {
	served(t, ClientOptions{UnreadBytesMax: 1 << 20}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.hold = true
		v := visit(t, c)
		ask := func(ids ...uint32) {
			go func() {
				for _, id := range ids {
					r := propose(id, "x")
					if _, err := v.conn.Write(wire.AppendClientRequest(nil, &r)); err != nil {
						return
					}
				}
			}()
			synctest.Wait()
		}
		answer := func(n int) {
			f.release(n)
			for range n {
				require.NoError(t, v.hear().Err)
			}
			synctest.Wait()
		}
		many := make([]uint32, 100)
		ask(many...)
		require.Equal(t, 100, f.count(), "small answers hold nobody up")
		answer(100)

		f.result = make([]byte, 200_000)
		for range 3 {
			ask(1)
			answer(1)
		}
		ask(many...)
		require.LessOrEqual(t, f.count(), 4, "more would bring more than half of the bound")
		require.Positive(t, f.count())
		f.result = []byte("short")
		for answered := 0; answered < 100; {
			n := f.count()
			require.Positive(t, n)
			answer(n)
			answered += n
		}
		ask(many...)
		require.Equal(t, 100, f.count(), "what was large once does not count for ever")
		answer(100)
	})
}

func TestResultLargerThanTheBoundIsNotWithheldFromAClientThatReads(t *testing.T) {
	served(t, ClientOptions{UnreadBytesMax: 1000}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.result = bytes.Repeat([]byte{7}, 1<<20)
		v := visit(t, c)
		for id := range uint32(3) {
			r := v.ask(wire.ClientRequest{ID: id, Method: wire.MethodQuery, Group: 1})
			b, err := r.ClientBytes()
			require.NoError(t, err)
			require.True(t, bytes.Equal(f.result, b))
			synctest.Wait()
		}
	})
}

func TestCommandThatFindsNoRoomIsRefusedBeforeItIsCopied(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.full = true
		v := visit(t, c)
		require.ErrorIs(t, v.ask(propose(1, string(make([]byte, 50_000)))).Err, ErrBusy)
		require.Zero(t, f.submitted)
		f.full = false
		require.NoError(t, v.ask(propose(2, string(make([]byte, 50_000)))).Err)
		require.Equal(t, 1, f.submitted)
	})
}
