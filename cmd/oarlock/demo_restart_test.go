package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// toldToEnd skips a test where a process cannot be asked to end.
func toldToEnd(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM")
	}
}

func TestDemoRestartsEveryServerAndNoCallFails(t *testing.T) {
	toldToEnd(t)
	e := oarlock(t, "demo", "restart", "--keys", "500", "--writers", "8", "--dir", t.TempDir())
	e.succeeds(t)
	for _, line := range []string{
		`SIGTERM server [123], the leader`,
		`(?s)(SIGTERM server [123], .*it has ended by itself after \d+ ms, and server [123] leads.*has caught up.*longest time without.*){3}`,
		`(?s)the longest time without an acknowledged write, in each step .*restart server 1, .*restart server 2, .*`,
		`calls that failed +0\n`,
		`missing or wrong +0\n`,
		`state +equal on all three servers`,
		`\n  nothing was lost\n`,
	} {
		require.Regexp(t, regexp.MustCompile(line), e.out)
	}
	require.NotContains(t, e.out, "\x1b[")
	require.Empty(t, e.errors)
}

func TestPausesAreOfTheStepInWhichTheyEnd(t *testing.T) {
	t.Parallel()
	p := new(pauses)
	p.begin("first")
	p.acknowledged()
	p.last = p.last.Add(-time.Minute)
	p.begin("second")
	p.acknowledged()
	p.last = p.last.Add(-time.Hour)
	p.rest() // nobody writes
	p.acknowledged()
	p.begin("third")
	steps, worst := p.all()
	require.Len(t, steps, 3)
	require.Zero(t, steps[0].pause)
	require.GreaterOrEqual(t, steps[1].pause, time.Minute)
	require.Less(t, steps[1].pause, time.Hour)
	require.Equal(t, steps[1], worst)
	require.Zero(t, p.latest().pause)
	(*pauses)(nil).acknowledged()
	(*pauses)(nil).rest()
}

func TestPausesAreShownBesideWhatTheMachineHadToDoWithThem(t *testing.T) {
	t.Parallel()
	const aim = 1200 * time.Millisecond
	for name, c := range map[string]struct {
		step  stepPause
		words []string
		not   string
	}{
		"short": {stepPause{"a step", 30 * time.Millisecond, 2 * time.Millisecond}, []string{"a step  ", "30 ms\n", "never longer than 30 ms: 2% of two"}, "LONGER"},
		"short, on a slow disk": {
			stepPause{"a step", 90 * time.Millisecond, 80 * time.Millisecond},
			[]string{"90 ms   (this machine kept a sync or a timer waiting for 80 ms)", "never longer than 90 ms"},
			"LONGER",
		},
		"long":                 {stepPause{"a step", 3 * time.Second, 30 * time.Millisecond}, []string{"3000 ms\n", `LONGER than the aim: 3000 ms, in the step "a step"`}, "never"},
		"long, with a machine": {stepPause{"a step", 3 * time.Second, time.Second}, []string{"LONGER than the aim; but this machine stood still for 1000 ms"}, "never"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			v := &demoView{w: &out, began: time.Now()}
			v.printPauses(&pauses{steps: []stepPause{{name: "nothing"}, c.step}}, aim)
			for _, w := range c.words {
				require.Contains(t, out.String(), w)
			}
			require.NotContains(t, out.String(), c.not)
		})
	}
}

// Who answers for a pause: the servers, where the machine was quiet; and another step that the machine had spoilt hides none of theirs.
func TestPauseIsTooLongOnlyWhereTheMachineWasQuiet(t *testing.T) {
	t.Parallel()
	const aim = 1200 * time.Millisecond
	short, quiet, noisy := stepPause{"short", aim, 0}, stepPause{"quiet", 2 * aim, aim / 10}, stepPause{"noisy", 3 * aim, aim}
	for _, c := range []struct {
		steps []stepPause
		long  string
	}{
		{[]stepPause{short}, ""},
		{[]stepPause{short, noisy}, ""},
		{[]stepPause{quiet, short}, "quiet"},
		{[]stepPause{noisy, quiet}, "quiet"},
		{[]stepPause{quiet, {"worse", 3 * aim, 0}}, "worse"},
	} {
		p := &pauses{steps: c.steps}
		s, found := p.tooLong(aim)
		require.Equal(t, c.long, s.name)
		require.Equal(t, c.long != "", found)
		d := &demo{measured: measured{pauses: p, aim: aim}}
		require.NoError(t, d.judge())
		d.options.strict = true
		if err := d.judge(); found {
			require.ErrorContains(t, err, fmt.Sprintf("in the step %q", c.long))
		} else {
			require.NoError(t, err)
		}
		var out bytes.Buffer
		v := &demoView{w: &out, began: time.Now()}
		v.printPauses(p, aim)
		require.Equal(t, found, strings.Contains(out.String(), "LONGER than the aim: "), out.String())
	}
}

func TestDemoListensToTheMachineUntilItIsToldToStop(t *testing.T) {
	t.Parallel()
	p := new(pauses)
	p.begin("a step")
	stop, err := p.listen(t.TempDir())
	require.NoError(t, err)
	eventually(t, "a sync was measured", func() error {
		if p.latest().noise == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	require.NoError(t, stop())
}

// A write whose fate nobody knows is a call that failed, and one that has ended well is none.
func TestLoadThatIsFinishedLeavesNoCallUnanswered(t *testing.T) {
	t.Parallel()
	s := inProcess(t)
	l := startLoad(t.Context(), s.look, 4, &demoView{w: io.Discard})
	require.NoError(t, l.waitFor(t.Context(), 20))
	goOn := l.rest()
	acked, unknown := l.results()
	require.Zero(t, unknown)
	require.Equal(t, int(l.next.Load()), acked, "every key that was begun is acknowledged while the writers rest")
	goOn()
	require.NoError(t, l.waitFor(t.Context(), acked+20))
	require.NoError(t, l.finish())
	_, unknown = l.results()
	require.Zero(t, unknown)
}

func TestNodeThatIsToldToEndHandsLeadershipOverFirst(t *testing.T) {
	toldToEnd(t)
	t.Parallel()
	c := startedCluster(t, 3)
	// A machine that stands still for an election timeout lets a transfer fail, and a leader is then elected as after a crash.
	for range 5 {
		old := c.leader()
		before, err := c.group(old)
		require.NoError(t, err)
		code := c.nodes[old].terminate()
		require.Zero(t, code)
		for _, m := range c.conf.Members {
			if m.ID == old {
				continue
			}
			// The old leader has ended only now: whoever leads already was not elected because it was missed.
			if g, err := c.group(m.ID); err == nil && g.Role == raft.RoleLeader.String() && g.Term == before.Term+1 {
				return
			}
		}
		c.start(old)
		c.leader()
	}
	require.Fail(t, "five leaders ended, and none had handed over")
}
