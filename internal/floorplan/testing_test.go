package floorplan

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/testing.md may name, each within backticks.
var (
	quoted     = regexp.MustCompile("`([^`]+)`")
	goTest     = regexp.MustCompile(`^([a-z/]+)\.((?:Test|Fuzz)[A-Za-z0-9]+)$`)
	storyName  = regexp.MustCompile(`^story: (\w+)$`)
	suitePart  = regexp.MustCompile(`^(logtest|transporttest|smtest): "?([^"]+)"?$`)
	simRule    = regexp.MustCompile(`^sim rule (\d+)$`)
	simNamed   = regexp.MustCompile(`^sim (situation|fault) "([^"]+)"$`)
	otherTest  = regexp.MustCompile(`^(bindings/\S+\.(?:c|py))(?:::(\w+))?$`)
	almostTest = regexp.MustCompile(`\b(Test|Fuzz)[A-Z]|^(story|logtest|transporttest|smtest): |^sim \w`)
	recordRow  = regexp.MustCompile(`^\| ([A-Z]\d\d) \|`)
	suiteFiles = map[string]string{
		"logtest": "persistentlog/logtest/logtest.go", "transporttest": "transport/transporttest/transporttest.go",
		"smtest": "statemachine/smtest/smtest.go",
	}
	simFiles = map[string]string{"rule": "sim/checks.go", "situation": "sim/coverage.go", "fault": "sim/fault.go"}
)

// testNames is what there is to be named: "raft.TestX", once with the whole path of its package and once with its last part.
func testNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				names[s.pkg+"."+f.Name.Name] = true
				names[s.pkg[strings.LastIndex(s.pkg, "/")+1:]+"."+f.Name.Name] = true
			}
		}
	}
	return names
}

// missingTest says what is wrong with a name in backticks; a name that is no test's is right, and counts for nothing.
func missingTest(name string, tests map[string]bool, read func(string) string) (wrong string, counts bool) {
	if strings.Contains(name, "…") || strings.HasPrefix(name, "go test ") {
		return "", false
	}
	holds := func(file, text string) (string, bool) {
		if strings.Contains(read(file), text) {
			return "", true
		}
		return fmt.Sprintf("%s: %s does not hold %s", name, file, text), false
	}
	if goTest.MatchString(name) {
		if tests[name] {
			return "", true
		}
		return name + ": no such test", false
	}
	if m := storyName.FindStringSubmatch(name); m != nil {
		return holds("raft/testdata/stories/"+m[1]+".txt", "> ")
	}
	if m := suitePart.FindStringSubmatch(name); m != nil {
		return holds(suiteFiles[m[1]], `{"`+m[2]+`"`)
	}
	if m := simRule.FindStringSubmatch(name); m != nil {
		return holds(simFiles["rule"], "&check{"+m[1]+",")
	}
	if m := simNamed.FindStringSubmatch(name); m != nil {
		return holds(simFiles[m[1]], `"`+m[2]+`"`)
	}
	if m := otherTest.FindStringSubmatch(name); m != nil {
		if read(m[1]) == "" {
			return name + ": no such file", false
		}
		return holds(m[1], m[2])
	}
	if almostTest.MatchString(name) {
		return name + ": reads like a test, in no form that is checked", false
	}
	return "", false
}

// testingFaults returns what is wrong with a page about tests: names of what is not there, and rows of the record that are held by
// nothing, given a reason by nothing, or numbered twice.
func testingFaults(page string, tests map[string]bool, read func(string) string) (faults []string, rows int) {
	seen := make(map[string]bool)
	for _, line := range strings.Split(page, "\n") {
		held := false
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			wrong, counts := missingTest(m[1], tests, read)
			held = held || counts
			if wrong != "" {
				faults = append(faults, wrong)
			}
		}
		m := recordRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		if seen[m[1]] {
			faults = append(faults, m[1]+" is there twice")
		}
		seen[m[1]] = true
		columns := strings.Split(strings.Trim(line, "| "), " | ")
		last := columns[len(columns)-1]
		if !held && !strings.HasPrefix(last, "later: ") && !strings.HasPrefix(last, "*by construction*: ") {
			faults = append(faults, m[1]+" is held by nothing")
		}
		if strings.HasPrefix(last, "*by construction*: ") && !regexp.MustCompile("`[a-z/]+\\.go`").MatchString(last) && !held {
			faults = append(faults, m[1]+" names no place in the code")
		}
	}
	return faults, rows
}

func TestEveryTestThatThePageNamesExists(t *testing.T) {
	root := moduleRoot(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return ""
		}
		return string(b)
	}
	faults, rows := testingFaults(documents(t)["docs/testing.md"], testNames(t), read)
	for _, m := range regexp.MustCompile("`([a-z/]+\\.go)`").FindAllStringSubmatch(documents(t)["docs/testing.md"], -1) {
		if strings.Contains(m[1], "/") && read(m[1]) == "" {
			faults = append(faults, m[1]+": no such file")
		}
	}
	if rows < 90 {
		faults = append(faults, fmt.Sprintf("only %d rows are read: the pattern is broken", rows))
	}
	report(t, "docs/testing.md", faults)
}

// The known bugs of sim/mutants say which row of the record they stand for.
func TestKnownBugsStandForRowsThatAreThere(t *testing.T) {
	page := documents(t)["docs/testing.md"]
	number := regexp.MustCompile(`\b[A-Z]\d\d\b`)
	var missing []string
	named := 0
	walk(t, func(name, full string) {
		if !strings.HasPrefix(name, "sim/mutants/bugs/") {
			return
		}
		content, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(content), "\n") {
			for _, row := range number.FindAllString(line, -1) {
				if !strings.HasPrefix(line, "Stands for:") {
					continue
				}
				if named++; !strings.Contains(page, "\n| "+row+" |") {
					missing = append(missing, name+": "+row)
				}
			}
		}
	})
	if named == 0 {
		t.Error("no bug says what it stands for: the pattern is broken")
	}
	report(t, "rows that known bugs stand for", missing)
}

func TestTestingRuleFindsWhatIsNotThere(t *testing.T) {
	tests := map[string]bool{"raft.TestA": true}
	read := func(name string) string {
		return map[string]string{
			"raft/testdata/stories/one.txt": "> servers 3", "sim/checks.go": `&check{7, "x"`, "sim/coverage.go": `sawX: "a log was cut"`,
			"persistentlog/logtest/logtest.go": `{"Bytes", f}`, "bindings/c/tests/a.c": "int main", "bindings/python/tests/b.py": "def test_c():",
		}[name]
	}
	for line, wrong := range map[string]bool{
		"| E01 | x | y | `raft.TestA` |":                                 false,
		"| E01 | x | y | `raft.TestB` |":                                 true,
		"| E01 | x | y | `story: one` |":                                 false,
		"| E01 | x | y | `story: two` |":                                 true,
		"| E01 | x | y | `sim rule 7` |":                                 false,
		"| E01 | x | y | `sim rule 8` |":                                 true,
		"| E01 | x | y | `sim situation \"a log was cut\"` |":            false,
		"| E01 | x | y | `sim situation \"a log was burnt\"` |":          true,
		"| E01 | x | y | `logtest: Bytes` |":                             false,
		"| E01 | x | y | `logtest: Bits` |":                              true,
		"| E01 | x | y | `bindings/c/tests/a.c` |":                       false,
		"| E01 | x | y | `bindings/c/tests/b.c` |":                       true,
		"| E01 | x | y | `bindings/python/tests/b.py::test_c` |":         false,
		"| E01 | x | y | `bindings/python/tests/b.py::test_d` |":         true,
		"| E01 | x | y | `TestA` |":                                      true,
		"| E01 | x | y | by nobody |":                                    true,
		"| E01 | x | y | later: with changes |":                          false,
		"| E01 | x | y | *by construction*: see (`raft/clock.go`) |":     false,
		"| E01 | x | y | *by construction*: it is so |":                  true,
		"| E01 | x | y | `raft.TestA` |\n| E01 | x | y | `raft.TestA` |": true,
		"it is held by `raft.TestB` and by `server.Open` and `x.go`":     true,
	} {
		if faults, _ := testingFaults(line, tests, read); (len(faults) > 0) != wrong {
			t.Errorf("%s: findings %q", line, faults)
		}
	}
}
