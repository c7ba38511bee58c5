package smtest

import (
	"fmt"
	"sync"
)

// answers counts what came of the queries of a check. An error is an answer that a machine may give (statemachine.StateMachine);
// but if it gives no other, nothing was compared that depends on its state.
type answers struct {
	mu             sync.Mutex
	asked, answers int
	last           error
}

func (a *answers) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if err == nil {
		a.answers++
	} else {
		a.last = err
	}
}

func (a *answers) missing() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == 0 || a.answers > 0 {
		return ""
	}
	return Unanswered(a.last)
}

// Unanswered is what a report says of queries of which not one was answered without an error, the last one with err. For those who
// build on this suite.
func Unanswered(err error) string {
	return fmt.Sprintf("answers to queries: not one was without an error, the last error was %q; give Options.Query or Options.QueryExamples, "+
		"queries that the machine understands", err)
}
