package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// pauses knows how long no write was acknowledged, at most, in each step of a demo. A nil one measures nothing.
type pauses struct {
	mu    sync.Mutex
	last  time.Time // of the latest acknowledgement; zero: the writers rest
	steps []stepPause
}

// stepPause is what one step had.
type stepPause struct {
	name  string
	pause time.Duration // the longest time without an acknowledgement that ended in it
	// noise is the longest that this machine kept a timer, or a sync of a few bytes, waiting meanwhile: no server that it
	// runs can be faster.
	noise time.Duration
}

// begin ends the present step. A pause belongs to the step in which it ends.
func (p *pauses) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, stepPause{name: name})
}

// acknowledged notes that a write was.
func (p *pauses) acknowledged() {
	if p == nil {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.step(); s != nil && !p.last.IsZero() {
		s.pause = max(s.pause, now.Sub(p.last))
	}
	p.last = now
}

// rest says that the writers were told to wait: what follows is no pause of the servers', until the next acknowledgement.
func (p *pauses) rest() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Time{}
}

func (p *pauses) noise(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.step(); s != nil {
		s.noise = max(s.noise, d)
	}
}

// step is the present one. The caller holds mu.
func (p *pauses) step() *stepPause {
	if len(p.steps) == 0 {
		return nil
	}
	return &p.steps[len(p.steps)-1]
}

// latest is what the present step has had so far.
func (p *pauses) latest() stepPause {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.step()
}

// quiet reports whether the machine had so small a share in a step's pause that the servers have to answer for it.
func (s stepPause) quiet() bool { return s.noise < s.pause/4 }

// tooLong returns the step with the longest pause, of those that were longer than the aim while the machine was quiet.
func (p *pauses) tooLong(aim time.Duration) (worst stepPause, found bool) {
	steps, _ := p.all()
	for _, s := range steps {
		if s.pause > aim && s.quiet() && s.pause > worst.pause {
			worst, found = s, true
		}
	}
	return worst, found
}

// all returns every step, and of them the one with the longest pause.
func (p *pauses) all() (steps []stepPause, worst stepPause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.steps {
		if s.pause >= worst.pause {
			worst = s
		}
	}
	return append(steps, p.steps...), worst
}

// listen measures the machine's own noise in dir until stop is called, which returns what went wrong with the file there.
func (p *pauses) listen(dir string) (stop func() error, err error) {
	f, err := os.Create(filepath.Join(dir, "noise"))
	if err != nil {
		return nil, err
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	var failed error
	all.Go(func() { p.listenToTimers(end) })
	all.Go(func() { failed = p.listenToSyncs(f, end) })
	return func() error {
		close(end)
		all.Wait()
		return errors.Join(failed, f.Close())
	}, nil
}

// tick is how often the machine is listened to; syncs come less often, because each is work for the servers' disk.
const (
	timerTick = 5 * time.Millisecond
	syncTick  = 50 * time.Millisecond
)

func (p *pauses) listenToTimers(end <-chan struct{}) {
	t := time.NewTimer(timerTick)
	defer t.Stop()
	for {
		began := time.Now()
		select {
		case <-end:
			return
		case <-t.C:
			p.noise(time.Since(began) - timerTick)
			t.Reset(timerTick)
		}
	}
}

func (p *pauses) listenToSyncs(f *os.File, end <-chan struct{}) error {
	t := time.NewTicker(syncTick)
	defer t.Stop()
	for {
		select {
		case <-end:
			return nil
		case <-t.C:
			began := time.Now()
			if _, err := f.WriteAt([]byte("a few bytes"), 0); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			p.noise(time.Since(began))
		}
	}
}

// printPauses prints each step's longest pause beside the aim, and says where the machine itself was as slow.
func (v *demoView) printPauses(p *pauses, aim time.Duration) {
	steps, worst := p.all()
	v.section(fmt.Sprintf("the longest time without an acknowledged write, in each step (the aim: %s)", milliseconds(aim)))
	for _, s := range steps {
		v.line("%-52s %8s%s", s.name, milliseconds(s.pause), noisy(s))
	}
	long, judged := p.tooLong(aim)
	switch {
	case worst.pause <= aim:
		v.print("", "\n             never longer than %s: %d%% of two of the longest election timeouts", milliseconds(worst.pause), 100*worst.pause/aim)
	case judged:
		v.print("31", "\n             LONGER than the aim: %s, in the step %q", milliseconds(long.pause), long.name)
	default:
		v.print("33", "\n             LONGER than the aim; but this machine stood still for %s in that step, so the number says little", milliseconds(worst.noise))
	}
}

// noisy says of a step that the machine had a share in its pause.
func noisy(s stepPause) string {
	if s.noise < 20*time.Millisecond || s.quiet() {
		return ""
	}
	return fmt.Sprintf("   (this machine kept a sync or a timer waiting for %s)", milliseconds(s.noise))
}
