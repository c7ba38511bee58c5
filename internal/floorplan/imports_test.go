package floorplan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// room is a package, or a folder of packages when its path ends in "/...".
type room struct {
	path  string
	floor int
	may   []string // packages of this module that its code may import, "/..." for everything below a folder
	never []string // packages of the standard library that its code must not import
}

// plan is the floor plan. An import may only point down, or sideways where the row says so. ARCHITECTURE.md draws it,
// and .golangci.yml has the rows that matter most to an editor. The first row that fits a package counts.
var plan = []room{
	{path: "raft", floor: 1},
	{path: "statemachine", floor: 1},
	{path: "internal/wire", floor: 2, may: []string{"raft"}},
	{path: "persistentlog/logtest", floor: 3, may: []string{"raft", "persistentlog", "internal/wire"}, never: []string{"testing"}},
	{path: "persistentlog", floor: 3, may: []string{"raft", "internal/wire"}},
	{path: "persistentlog/...", floor: 3, may: []string{"raft", "internal/wire", "persistentlog", "persistentlog/internal/..."}},
	{path: "transport/transporttest", floor: 3, may: []string{"raft", "transport"}, never: []string{"testing"}},
	{path: "transport", floor: 3, may: []string{"raft"}},
	{path: "transport/tcp", floor: 3, may: []string{"raft", "transport", "internal/wire"}},
	{path: "transport/memnet", floor: 3, may: []string{"raft", "transport", "internal/wire"}},
	{path: "statemachine/smtest", floor: 3, may: []string{"statemachine"}, never: []string{"testing"}},
	{path: "statemachine/kv", floor: 3, may: []string{"statemachine"}},
	{path: "server", floor: 4, may: []string{"raft", "statemachine", "persistentlog", "transport", "internal/wire"}},
	{path: "server/replicatest", floor: 5, may: []string{"server", "raft", "statemachine", "persistentlog", "transport"}},
	{path: "server/servertest", floor: 5, never: []string{"testing"}, may: []string{
		"server", "client", "raft", "statemachine", "persistentlog", "persistentlog/memlog", "persistentlog/vfsdir", "transport", "transport/memnet",
	}},
	{path: "client", floor: 4, may: []string{"raft", "transport", "internal/wire"}},
	{path: "sim", floor: 5, may: []string{
		"server", "client", "raft", "statemachine", "statemachine/kv", "statemachine/smtest", "persistentlog", "transport",
		"persistentlog/memlog", "persistentlog/seglog", "persistentlog/vfsdir", "transport/memnet", "internal/wire",
	}},
	{path: "sim/mutants", floor: 6}, // it compiles package sim's tests and imports nothing
	{path: "config", floor: 5, may: []string{
		"server", "client", "raft", "statemachine/...", "persistentlog/...", "transport/...", "internal/wire",
	}},
	{path: "capi/...", floor: 6, may: []string{"..."}},
	{path: "cmd/...", floor: 6, may: []string{"..."}},
	{path: "examples/...", floor: 6, may: []string{
		"raft", "statemachine/...", "persistentlog/...", "transport/...", "server", "server/servertest", "client", "sim", "config",
	}},
	{path: "internal/floorplan", floor: 6},
}

// fits reports whether a pattern of the plan covers a package.
func fits(pattern, pkg string) bool {
	folder, all := strings.CutSuffix(pattern, "...")
	if !all {
		return pattern == pkg
	}
	return folder == "" || pkg+"/" == folder || strings.HasPrefix(pkg, folder)
}

func roomOf(pkg string) (room, bool) {
	for _, r := range plan {
		if fits(r.path, pkg) {
			return r, true
		}
	}
	return room{}, false
}

// brokenImports returns what a file imports against the plan. Tests may import sideways (a log's suite, a memory
// transport), but never from a higher floor.
func brokenImports(s *source) []string {
	home, ok := roomOf(s.pkg)
	if !ok {
		return []string{fmt.Sprintf("%s: package %s is not on the floor plan; give it a row", s.path, s.pkg)}
	}
	var broken []string
	imports := s.imports()
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		at := imports[name]
		if !s.test && slices.Contains(home.never, name) {
			broken = append(broken, fmt.Sprintf("%s: %s must not import %s", at, s.pkg, name))
		}
		inside, ours := strings.CutPrefix(name, modulePath+"/")
		if !ours || inside == s.pkg {
			continue
		}
		target, known := roomOf(inside)
		allowed := slices.ContainsFunc(home.may, func(p string) bool { return fits(p, inside) })
		switch {
		case !known:
			broken = append(broken, fmt.Sprintf("%s: %s imports %s, which is not on the floor plan", at, s.pkg, inside))
		case s.test && target.floor > home.floor:
			broken = append(broken, fmt.Sprintf("%s: a test of floor %d imports %s of floor %d", at, home.floor, inside, target.floor))
		case !s.test && !allowed:
			broken = append(broken, fmt.Sprintf("%s: %s must not import %s", at, s.pkg, inside))
		}
	}
	return broken
}

func TestImportsOnlyPointDown(t *testing.T) {
	var broken []string
	for _, s := range sources(t) {
		broken = append(broken, brokenImports(s)...)
	}
	report(t, "imports against the floor plan", broken)
}

func TestPlanItselfOnlyPointsDown(t *testing.T) {
	for _, home := range plan {
		for _, target := range plan {
			named := slices.ContainsFunc(home.may, func(p string) bool { return p == target.path })
			if named && target.floor > home.floor {
				t.Errorf("%s of floor %d may import %s of floor %d", home.path, home.floor, target.path, target.floor)
			}
		}
	}
}

func TestImportRuleFindsEachKindOfBreach(t *testing.T) {
	file := func(imported string) string { return "package p\n\nimport _ \"" + imported + "\"\n" }
	for _, c := range []struct {
		name, path, imported string
		broken               bool
	}{
		{"a log may know raft", "persistentlog/memlog/a.go", modulePath + "/raft", false},
		{"raft knows nobody", "raft/a.go", modulePath + "/statemachine", true},
		{"wire is not for transports' users", "internal/wire/a.go", modulePath + "/transport", true},
		{"a server is given its parts", "server/a.go", modulePath + "/persistentlog/memlog", true},
		{"a server's test may make its parts", "server/a_test.go", modulePath + "/persistentlog/memlog", false},
		{"a test does not reach upwards", "raft/a_test.go", modulePath + "/server", true},
		{"a suite serves outside go test", "persistentlog/logtest/a.go", "testing", true},
		{"an example uses what users use", "examples/kv/a.go", modulePath + "/internal/wire", true},
		{"a new room needs a row", "util/a.go", "fmt", true},
		{"nobody imports what has no row", "server/a.go", modulePath + "/util", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := brokenImports(parseSource(t, c.path, file(c.imported))); (len(got) > 0) != c.broken {
				t.Errorf("broken = %v, findings %q", !c.broken, got)
			}
		})
	}
}
