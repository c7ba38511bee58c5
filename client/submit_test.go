package client_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
)

// done is a Completion as a function.
type done func(result []byte, err error)

func (d done) Complete(result []byte, err error) { d(result, err) }

func TestSubmittedCallsCompleteOnceAndMayBeginOthers(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1", "s2", "s3"}, Dial: f.Dial})
		answers := make(chan string, 8)
		_, err := c.Submit(client.OpPropose, []byte("first"), done(func(result []byte, err error) {
			answers <- fmt.Sprint(string(result), err)
			_, err = c.Submit(client.OpPropose, []byte("second"), done(func(result []byte, err error) {
				answers <- fmt.Sprint(string(result), err)
			}))
			if err != nil {
				answers <- err.Error()
			}
		}))
		require.NoError(t, err)
		require.Equal(t, "done first<nil>", <-answers)
		require.Equal(t, "done second<nil>", <-answers)
		require.Equal(t, 1, f.count("first"))
		require.Equal(t, 1, f.count("second"))
		require.Empty(t, answers)
	})
}

func TestSubmittedCallThatIsCancelledEndsWithItsCause(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		f.leader = "nobody"
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		answers := make(chan error, 2)
		h, err := c.Submit(client.OpPropose, []byte("a"), done(func(_ []byte, err error) { answers <- err }))
		require.NoError(t, err)
		enough := errors.New("enough")
		require.NoError(t, c.Cancel(h, enough))
		require.ErrorIs(t, <-answers, enough)
		require.NoError(t, c.Cancel(h, enough), "it has ended")
		require.Empty(t, answers)
	})
}

func TestCloseCompletesWhatWasSubmitted(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		f.leader = "nobody"
		c, err := client.New(client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		require.NoError(t, err)
		answers := make(chan error, 2)
		answer := done(func(_ []byte, err error) { answers <- err })
		_, err = c.Submit(client.OpQuery, []byte("a"), answer)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-answers, client.ErrClosed)
		_, err = c.Submit(client.OpQuery, []byte("a"), answer)
		require.NoError(t, err)
		require.ErrorIs(t, <-answers, client.ErrClosed)
	})
}

func TestSecondCloseCompletesNothingAgain(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		f.leader = "nobody"
		c, err := client.New(client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		require.NoError(t, err)
		answers := make(chan error, 3)
		_, err = c.Submit(client.OpQuery, []byte("a"), done(func(_ []byte, err error) { answers <- err }))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-answers, client.ErrClosed)
		require.Empty(t, answers)
	})
}

func TestSubmitRefusesWhatCannotBe(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		_, err := c.Submit(client.OpPropose, []byte("a"), nil)
		require.ErrorIs(t, err, client.ErrMalformed)
		_, err = c.Submit(77, nil, done(func([]byte, error) {}))
		require.ErrorIs(t, err, client.ErrMalformed)
	})
}

func TestCompletionThatPanicsLeavesTheClientAndTheOthersAlone(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1", "s2", "s3"}, Dial: f.Dial})
		_, err := c.Submit(client.OpPropose, []byte("a"), done(func([]byte, error) { panic("a completion that panics") }))
		require.NoError(t, err)
		result, err := c.Propose(t.Context(), []byte("b"))
		require.NoError(t, err)
		require.Equal(t, "done b", string(result))
	})
}
