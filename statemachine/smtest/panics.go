package smtest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/oarlock/oarlock/statemachine"
)

// guard turns a panic of the machine into an error that names the call and the promise. Without a name it only says what it was.
func guard(what string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			text := PanicText(p)
			if what == "" {
				err = &panicked{text}
				return
			}
			err = breaks(promiseOf(what), &panicked{fmt.Sprintf("%s panicked, which would stop every replica: %s", what, text)})
		}
	}()
	call()
	return nil
}

// promiseOf is the one that a panic of a call breaks.
func promiseOf(what string) string {
	for _, call := range []string{"Apply", "Expire"} {
		if strings.HasPrefix(what, call) {
			return promiseExecuted
		}
	}
	return PromiseReturns
}

// panicked is what a panic becomes.
type panicked struct{ text string }

func (p *panicked) Error() string { return p.text }

func isPanic(err error) bool {
	var p *panicked
	return errors.As(err, &p)
}

// PanicText is a panic in words, with its place, for the function that has recovered it. Of a statemachine.Broken it is the reason
// alone, which says all. For those who build on this suite.
func PanicText(p any) string {
	var broken *statemachine.Broken
	if err, ok := p.(error); ok && errors.As(err, &broken) {
		return broken.Error()
	}
	if at := panicPlace(); at != "" {
		return fmt.Sprintf("%v, at %s", p, at)
	}
	return fmt.Sprint(p)
}

// What the functions of this module begin with, and those that call machines.
const (
	library = "github.com/oarlock/oarlock/"
	suites  = library + "statemachine/smtest."
	cluster = library + "sim."
)

// panicPlace is the file and line of the panic that is under way: of the first function that is none of the runtime, of the
// standard library or of this module, or else of the first one that is not the runtime's.
func panicPlace() string {
	callers := make([]uintptr, 200)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	place, standard, begun := "", "", false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			begun, place = true, ""
			standard, _ = strings.CutSuffix(f.File, "runtime/panic.go")
		case !begun || strings.HasPrefix(f.Function, "runtime."):
		case strings.HasPrefix(f.Function, suites) || strings.HasPrefix(f.Function, cluster):
			if place != "" {
				return place
			}
			place = at(f) // a machine of their own tests
		case standard != "" && strings.HasPrefix(f.File, standard):
			if place == "" {
				place = at(f)
			}
		case !strings.HasPrefix(f.Function, library):
			return at(f)
		case place == "" || standard != "" && strings.HasPrefix(place, standard):
			place = at(f)
		}
		if !more {
			return place
		}
	}
}

func at(f runtime.Frame) string { return fmt.Sprintf("%s:%d", f.File, f.Line) }
