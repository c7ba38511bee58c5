package floorplan

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// parityPackages are what an application in Go is written against.
var parityPackages = []string{"server", "client", "config", "statemachine", "server/servertest", "statemachine/smtest"}

// exportedNames returns what a file offers: "server.Open", "server.Server.Propose".
func exportedNames(s *source) []string {
	var names []string
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() || d.Recv != nil && !receiverExported(d.Recv) {
				continue
			}
			name := s.pkg + "."
			if d.Recv != nil {
				name += receiverName(d.Recv) + "."
			}
			names = append(names, name+d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, specNames(s.pkg, spec)...)
			}
		}
	}
	return names
}

func receiverName(recv *ast.FieldList) string {
	t := recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

func specNames(pkg string, spec ast.Spec) []string {
	var names []string
	switch sp := spec.(type) {
	case *ast.TypeSpec:
		if sp.Name.IsExported() {
			names = append(names, pkg+"."+sp.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range sp.Names {
			if n.IsExported() {
				names = append(names, pkg+"."+n.Name)
			}
		}
	}
	return names
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// parityRow is one line of the table: what stands in its cells, and its reason.
type parityRow struct {
	goNames, c, python []string
	reason             string
}

// parityRows reads the tables. Those with three columns have no Go.
func parityRows(document string) []parityRow {
	var rows []parityRow
	spans := func(cell string) (found []string) {
		for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
			found = append(found, m[1])
		}
		return found
	}
	for line := range strings.Lines(document) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) < 3 {
			continue
		}
		row := parityRow{reason: strings.TrimSpace(cells[len(cells)-1])}
		if len(cells) == 4 {
			row.goNames, cells = spans(cells[0]), cells[1:]
		}
		row.c, row.python = spans(cells[0]), spans(cells[1])
		rows = append(rows, row)
	}
	return rows
}

// matchesName reports whether a name of the table, perhaps with a star, stands for a name.
func matchesName(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return err == nil && ok && strings.Count(pattern, ".") == strings.Count(name, ".")
}

func readFiles(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(moduleRoot(t), pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files: %v", pattern, err)
	}
	var all strings.Builder
	for _, p := range paths {
		content, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

var (
	cWord       = regexp.MustCompile(`\b(?:oar|OAR)_[A-Za-z0-9_]+`)
	cFunction   = regexp.MustCompile(`(?m)^OAR_API [^;(]*?\b(oar_[a-z0-9_]+)\(`)
	pythonNames = regexp.MustCompile(`"([A-Za-z_]+)"`)
)

// broken returns what is wrong with the table, given what there is.
func parityFindings(rows []parityRow, offered []string, header, pythonInit, pythonTesting string) []string {
	var wrong []string
	words := make(map[string]bool)
	for _, w := range cWord.FindAllString(header, -1) {
		words[w] = true
	}
	python := make(map[string]bool)
	for prefix, module := range map[string]string{"": pythonInit, "testing.": pythonTesting} {
		_, list, _ := strings.Cut(module, "__all__")
		for _, m := range pythonNames.FindAllStringSubmatch(list, -1) {
			python[prefix+m[1]] = true
		}
	}
	named := make(map[string]bool)
	var patterns []string
	for _, r := range rows {
		for _, p := range r.goNames {
			if !slices.ContainsFunc(offered, func(n string) bool { return matchesName(p, n) }) {
				wrong = append(wrong, p+" is in the table and not in Go")
			}
			patterns = append(patterns, p)
		}
		for _, c := range r.c {
			named[c] = true
			if !words[c] {
				wrong = append(wrong, c+" is in the table and not in the header")
			}
		}
		for _, p := range r.python {
			if !python[p] {
				wrong = append(wrong, p+" is in the table and not in the Python package")
			}
		}
		if (len(r.c) == 0 || len(r.python) == 0) && r.reason == "" {
			wrong = append(wrong, strings.Join(append(r.goNames, r.c...), ", ")+" is missing in a language, without a reason")
		}
	}
	for _, name := range offered {
		if !slices.ContainsFunc(patterns, func(p string) bool { return matchesName(p, name) }) {
			wrong = append(wrong, name+" has no row")
		}
	}
	for _, m := range cFunction.FindAllStringSubmatch(header, -1) {
		if !named[m[1]] {
			wrong = append(wrong, m[1]+" of the header has no row")
		}
	}
	return wrong
}

func TestWhatGoOffersCAndPythonOfferOrSayWhyNot(t *testing.T) {
	var offered []string
	for _, s := range sources(t) {
		if !s.test && slices.Contains(parityPackages, s.pkg) {
			offered = append(offered, exportedNames(s)...)
		}
	}
	wrong := parityFindings(parityRows(readFiles(t, "docs/parity.md")), offered,
		readFiles(t, "bindings/c/include/oarlock.h"),
		readFiles(t, "bindings/python/oarlock/__init__.py"), readFiles(t, "bindings/python/oarlock/testing.py"))
	report(t, "docs/parity.md against Go, the header and the Python package", wrong)
}

func TestParityRuleFindsEachKindOfGap(t *testing.T) {
	rows := parityRows("| `server.Open` | `oar_open`, `oar_gone` | `Server`, `testing.Cluster`, `Gone` | |\n| `server.Old` | - | - | |\n")
	header := "OAR_API oar_status oar_open(int a);\nOAR_API oar_status oar_new(int a);\n"
	wrong := parityFindings(rows, []string{"server.Open", "server.New"}, header, "__all__ = [\"Server\"]", "__all__ = [\"Cluster\", \"Gone\"]")
	for _, want := range []string{
		"oar_gone is in the table and not in the header", "Gone is in the table and not in the Python package",
		"server.Old is in the table and not in Go", "server.Old is missing in a language, without a reason",
		"server.New has no row", "oar_new of the header has no row",
	} {
		if !slices.Contains(wrong, want) {
			t.Errorf("not found: %s; found: %q", want, wrong)
		}
	}
	if len(wrong) != 6 {
		t.Errorf("%q", wrong)
	}
}

// jsonNames returns what the fields of a struct are called in JSON.
func jsonNames(s *source, structName string) []string {
	var names []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		spec, is := n.(*ast.TypeSpec)
		if !is || spec.Name.Name != structName {
			return true
		}
		if fields, is := spec.Type.(*ast.StructType); is {
			for _, field := range fields.Fields.List {
				if field.Tag == nil {
					continue
				}
				for _, m := range jsonTag.FindAllStringSubmatch(field.Tag.Value, -1) {
					names = append(names, m[1])
				}
			}
		}
		return false
	})
	return names
}

var (
	jsonTag      = regexp.MustCompile(`json:"([a-z_]+)`)
	pythonReport = regexp.MustCompile(`(?s)class Report\(NamedTuple\):\n(.*?)\n\n\n`)
	pythonField  = regexp.MustCompile(`(?m)^    ([a-z_]+): `)
)

// reportGaps returns which fields of the report of checks get lost on the way from Go to C's JSON, and from there to Python.
func reportGaps(inGo, inC []string, pythonModule string) []string {
	var wrong []string
	var inPython []string
	for _, class := range pythonReport.FindAllStringSubmatch(pythonModule, -1) {
		for _, m := range pythonField.FindAllStringSubmatch(class[1], -1) {
			inPython = append(inPython, m[1])
		}
	}
	for _, name := range inGo {
		if !slices.Contains(inC, name) {
			wrong = append(wrong, name+" is in Go and not in C's JSON")
		}
	}
	for _, name := range inC {
		if !slices.Contains(inPython, strings.Replace(name, "_nanos", "_seconds", 1)) {
			wrong = append(wrong, name+" is in C's JSON and not in Python")
		}
	}
	return wrong
}

func TestReportOfChecksHasTheSameFieldsInGoCAndPython(t *testing.T) {
	var inGo, inC []string
	for _, s := range sources(t) {
		switch s.path {
		case "statemachine/smtest/report.go":
			inGo = jsonNames(s, "Report")
		case "capi/check_report.go":
			inC = jsonNames(s, "checkReport")
		}
	}
	if !slices.Contains(inGo, "final") || len(inC) < len(inGo) {
		t.Fatalf("the fields are not where they were: %q, %q", inGo, inC)
	}
	report(t, "the report of checks of a state machine", reportGaps(inGo, inC, readFiles(t, "bindings/python/oarlock/_report.py")))
}

func TestReportRuleFindsEachFieldThatGetsLost(t *testing.T) {
	module := "class Other(NamedTuple):\n    one: int\n\n\nclass Report(NamedTuple):\n    two: int\n    v_seconds: float\n\n\nthree: int = 3\n"
	want := []string{"four is in Go and not in C's JSON", "one is in C's JSON and not in Python", "three is in C's JSON and not in Python"}
	if wrong := reportGaps([]string{"two", "four"}, []string{"one", "two", "three", "v_nanos"}, module); !slices.Equal(wrong, want) {
		t.Errorf("%q", wrong)
	}
}
