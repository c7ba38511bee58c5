package floorplan

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// coreImports is all that the consensus module may use: nothing that waits, draws, logs or looks at the machine.
var coreImports = []string{
	"cmp", "encoding/binary", "errors", "fmt", "hash/crc32", "iter", "maps", "math", "math/bits", "math/rand/v2",
	"slices", "sort", "strconv", "strings", "time",
}

// coreNames narrows some of them to the names that are pure. A map's order is not in here: a determinism test must
// find it, no parser can.
var coreNames = map[string][]string{
	"time":         {"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"},
	"math/rand/v2": {"New", "NewPCG", "NewChaCha8", "Rand", "PCG", "ChaCha8", "Source"},
	"fmt":          {"Errorf", "Sprintf", "Sprint", "Appendf", "Stringer"},
}

// selectors calls visit for each use of an imported package's name, knowing import aliases.
func selectors(s *source, visit func(pkg, name string, pos token.Pos)) {
	local := make(map[string]string)
	for _, spec := range s.file.Imports {
		full := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(full)
		if name == "v2" {
			name = path.Base(path.Dir(full))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		local[name] = full
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Obj == nil && local[id.Name] != "" {
				visit(local[id.Name], sel.Sel.Name, sel.Pos())
			}
		}
		return true
	})
}

func impurities(s *source) []string {
	var found []string
	add := func(pos token.Pos, format string, args ...any) {
		found = append(found, s.at(pos)+": "+fmt.Sprintf(format, args...))
	}
	for _, spec := range s.file.Imports {
		name := strings.Trim(spec.Path.Value, `"`)
		if !slices.Contains(coreImports, name) {
			add(spec.Pos(), "imports %s", name)
		}
		if spec.Name != nil && spec.Name.Name == "." {
			add(spec.Pos(), "imports %s without a name", name)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n.Pos(), "starts a goroutine")
		case *ast.ChanType:
			add(n.Pos(), "names a channel type")
		case *ast.SelectStmt:
			add(n.Pos(), "selects")
		case *ast.SendStmt:
			add(n.Pos(), "sends on a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				add(n.Pos(), "receives from a channel")
			}
		}
		return true
	})
	selectors(s, func(pkg, name string, pos token.Pos) {
		if allowed, narrowed := coreNames[pkg]; narrowed && !slices.Contains(allowed, name) {
			add(pos, "uses %s.%s", pkg, name)
		}
	})
	return found
}

func TestConsensusModuleHasNoClockGoroutineChannelOrIO(t *testing.T) {
	var found []string
	for _, s := range sources(t) {
		if s.pkg == "raft" && !s.test {
			found = append(found, impurities(s)...)
		}
	}
	report(t, "package raft", found)
}

func TestPurityRuleFindsEachImpurity(t *testing.T) {
	for _, c := range []struct{ name, code string }{
		{"goroutine", "func f() { go f() }"},
		{"channel type", "var c chan int"},
		{"select", "func f() { select {} }"},
		{"send", "func f(c any) { c.(T) <- 1 }"},
		{"receive", "func f(c T) { <-c }"},
		{"clock", "import \"time\"\nvar x = time.Now()"},
		{"clock by another name", "import t \"time\"\nvar x = t.Now"},
		{"timer", "import \"time\"\nvar x = time.After(1)"},
		{"global random", "import \"math/rand/v2\"\nvar x = rand.IntN(3)"},
		{"old random", "import \"math/rand\"\nvar x = rand.Int()"},
		{"files", "import \"os\"\nvar x = os.Args"},
		{"locks", "import \"sync\"\nvar m sync.Mutex"},
		{"printing", "import \"fmt\"\nfunc f() { fmt.Println() }"},
		{"dot import", "import . \"time\"\nvar x = Now()"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := impurities(parseSource(t, "raft/a.go", "package raft\n"+c.code+"\n")); len(got) == 0 {
				t.Error("not found")
			}
		})
	}
	pure := "package raft\nimport (\n\"time\"\n\"math/rand/v2\"\n)\nvar d = 3 * time.Second\nvar r = rand.New(rand.NewPCG(1, 2))\n"
	if got := impurities(parseSource(t, "raft/a.go", pure)); len(got) != 0 {
		t.Errorf("found in pure code: %q", got)
	}
}

// manners returns what no library may do to the process that it lives in, and no test to the patience of people.
// virtual says that the package's tests run under testing/synctest, where a sleep takes no time.
func manners(s *source, virtual bool) []string {
	benchmark := path.Base(s.path) == "bench_test.go" // which may wait for a disk to come to rest
	program := fits("cmd/...", s.pkg) || fits("examples/...", s.pkg) || s.pkg == "sim/mutants"
	var found []string
	selectors(s, func(pkg, name string, pos token.Pos) {
		full := pkg + "." + name
		bad := false
		switch {
		case pkg == "os/signal":
			bad = !fits("cmd/...", s.pkg) && !s.test
		case pkg == "fmt" && strings.HasPrefix(name, "Print"), full == "os.Stdout", full == "os.Exit", pkg == "log":
			bad = !program && !s.test
		case full == "time.Sleep":
			bad = s.test && !virtual && !benchmark && s.pkg != "transport/tcp" && !program
		}
		if bad {
			found = append(found, s.at(pos)+": uses "+full)
		}
	})
	for name, at := range s.imports() {
		if name == "os/signal" && !fits("cmd/...", s.pkg) && !s.test {
			found = append(found, at+": imports os/signal")
		}
	}
	return found
}

func TestLibrariesLeaveSignalsOutputAndExitToTheHost(t *testing.T) {
	all := sources(t)
	virtual := make(map[string]bool)
	for _, s := range all {
		_, is := s.imports()["testing/synctest"]
		virtual[s.pkg] = virtual[s.pkg] || is
	}
	var found []string
	for _, s := range all {
		found = append(found, manners(s, virtual[s.pkg])...)
	}
	report(t, "only cmd, examples and sim/mutants print, exit and listen to signals; only tests of transport/tcp sleep, the others by virtual time", found)
}

func TestMannersRuleFindsEachBreach(t *testing.T) {
	for _, c := range []struct {
		path, code string
		bad        bool
	}{
		{"server/a.go", "import \"os/signal\"\nvar x = signal.Notify", true},
		{"server/a.go", "import _ \"os/signal\"", true},
		{"server/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }", true},
		{"server/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", true},
		{"server/a.go", "import \"log\"\nfunc f() { log.Fatal() }", true},
		{"server/a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }", true},
		{"transport/tcp/a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }", false},
		{"cmd/oarlock/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", false},
		{"server/a.go", "import \"fmt\"\nvar err = fmt.Errorf(\"x\")", false},
	} {
		if got := manners(parseSource(t, c.path, "package p\n"+c.code+"\n"), false); (len(got) > 0) != c.bad {
			t.Errorf("%s, %q: findings %q", c.path, c.code, got)
		}
	}
	sleeper := parseSource(t, "server/a_test.go", "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n")
	if got := manners(sleeper, true); len(got) > 0 {
		t.Errorf("a sleep in virtual time: %q", got)
	}
}
