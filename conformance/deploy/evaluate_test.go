package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// values reads a .tfvars file and returns what the variables are with it. Those
// that it must not have are unknown.
func (m *module) values(t *testing.T, file string) map[string]cty.Value {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, diags := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	given := f.Body.(*hclsyntax.Body).Attributes
	for name := range given {
		if m.variables[name] == nil {
			t.Errorf("%s: no variable %s", file, name)
		}
	}
	all := map[string]cty.Value{}
	for name, v := range m.variables {
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(v.Body.Attributes["type"].Expr)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		value := cty.UnknownVal(typ)
		var expr hclsyntax.Expression
		switch {
		case given[name] != nil:
			expr = given[name].Expr
		case v.Body.Attributes["default"] != nil:
			expr = v.Body.Attributes["default"].Expr
		case v.Body.Attributes["ephemeral"] == nil:
			t.Errorf("%s: no %s, which is required", file, name)
		}
		if expr != nil {
			if value, diags = expr.Value(nil); diags.HasErrors() {
				t.Fatal(diags)
			}
			if defaults != nil {
				value = defaults.Apply(value)
			}
			if value, err = convert.Convert(value, typ); err != nil {
				t.Fatalf("%s: %s: %v", file, name, err)
			}
		}
		all[name] = value
	}
	return all
}

// local evaluates a local. Of the resources the agent's URL is known.
func (m *module) local(t *testing.T, name string, vars map[string]cty.Value) cty.Value {
	t.Helper()
	agent := cty.ObjectVal(map[string]cty.Value{"uri": cty.StringVal(agentURL)})
	agents := cty.TupleVal([]cty.Value{agent})
	if vars["sidecar"].True() {
		agents = cty.EmptyTupleVal
	}
	ctx := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var":                          cty.ObjectVal(vars),
			"local":                        cty.EmptyObjectVal,
			"google_cloud_run_v2_service":  cty.ObjectVal(map[string]cty.Value{"agent": agents}),
			"google_secret_manager_secret": cty.DynamicVal,
		},
		Functions: map[string]function.Function{
			"merge": stdlib.MergeFunc, "coalesce": stdlib.CoalesceFunc, "concat": stdlib.ConcatFunc, "length": stdlib.LengthFunc,
		},
	}
	locals := map[string]cty.Value{}
	for _, needed := range m.locals[name].Variables() {
		if needed.RootName() == "local" {
			other := needed[1].(hcl.TraverseAttr).Name
			locals[other] = m.local(t, other, vars)
		}
	}
	ctx.Variables["local"] = cty.ObjectVal(locals)
	value, diags := m.locals[name].Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return value
}

func texts(t *testing.T, v cty.Value) map[string]string {
	t.Helper()
	m := map[string]string{}
	for k, v := range v.AsValueMap() {
		m[k] = v.AsString()
	}
	return m
}

func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, moduleDir, "examples", "*.tfvars"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	return files
}

// TestTerraformServiceIsHealthy: the service of each example ends with what
// -check calls healthy.
func TestTerraformServiceIsHealthy(t *testing.T) {
	t.Parallel()
	m := parseModule(t)
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			vars := m.values(t, file)
			service := vars["service"].GetAttr("name").AsString()
			project := vars["project"].AsString()
			account := service + "@" + project + ".iam.gserviceaccount.com" // google_service_account.service
			d := deployment{
				name: service, env: texts(t, m.local(t, "service_env", vars)), account: account, project: project, invokers: []string{account},
			}
			for _, a := range vars["custom_audiences"].AsValueSlice() {
				d.audience = append(d.audience, a.AsString())
			}
			output, code := d.check(t)
			healthy(t, output, code, vars["sidecar"].False())
		})
	}
}

// TestTerraformIsTheCommands: the module sets what the document's commands set.
func TestTerraformIsTheCommands(t *testing.T) {
	t.Parallel()
	m, calls := parseModule(t), run(t, "docs/cloud-run.md")["gcloud"]
	shared := m.values(t, filepath.Join(root, moduleDir, "examples", "shared.tfvars"))
	sidecar := m.values(t, filepath.Join(root, moduleDir, "examples", "sidecar.tfvars"))
	agent := nth(t, calls, "run deploy datadog-agent", 0).flagsOf("")
	for _, tt := range []struct {
		what      string
		got, want map[string]string
	}{
		{"agent", texts(t, m.local(t, "agent_env", shared)), pairs(agent["--set-env-vars"])},
		{"service", texts(t, m.local(t, "service_env", shared)), pairs(nth(t, calls, "run deploy shop", 0).flagsOf("shop")["--set-env-vars"])},
		{"service beside a sidecar", texts(t, m.local(t, "service_env", sidecar)), pairs(nth(t, calls, "run deploy shop", 1).flagsOf("shop")["--set-env-vars"])},
		{"sidecar", texts(t, m.local(t, "sidecar_env", sidecar)), pairs(nth(t, calls, "run deploy shop", 1).flagsOf("datadog")["--set-env-vars"])},
		{"agent's service", m.settings(t, "google_cloud_run_v2_service.agent", shared), map[string]string{
			"image": agent["--image"], "container_port": agent["--port"], "cpu_idle": "false", "cpu": agent["--cpu"], "memory": agent["--memory"],
			"max_instance_request_concurrency": agent["--concurrency"], "timeout": agent["--timeout"] + "s",
			"min_instance_count": agent["--min-instances"], "max_instance_count": agent["--max-instances"],
			"execution_environment": "EXECUTION_ENVIRONMENT_" + strings.ToUpper(agent["--execution-environment"]),
			"ingress":               "INGRESS_TRAFFIC_" + strings.ToUpper(agent["--ingress"]),
			"startup_cpu_boost":     fmt.Sprint(hasFlag(agent, "--cpu-boost")), "name": "http1",
			"path": "/info", "port": "8126", "period_seconds": "2", "timeout_seconds": "1", "failure_threshold": "30",
		}},
	} {
		if diff := gocmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-commands +terraform):\n%s", tt.what, diff)
		}
	}
	if !hasFlag(agent, "--no-cpu-throttling") || !hasFlag(agent, "--no-use-http2") {
		t.Error("the agent's CPU is throttled, or it is to speak HTTP/2")
	}
	if got, want := agent["--startup-probe"], "httpGet.path=/info,httpGet.port=8126,periodSeconds=2,timeoutSeconds=1,failureThreshold=30"; got != want {
		t.Errorf("the probe is %s, want %s", got, want)
	}
}

func hasFlag(flags map[string]string, name string) bool {
	_, found := flags[name]
	return found
}

// settings returns the resource's arguments that are constants or variables,
// those of blocks among them.
func (m *module) settings(t *testing.T, resource string, vars map[string]cty.Value) map[string]string {
	t.Helper()
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"var": cty.ObjectVal(vars)}}
	found := map[string]string{}
	var walk func(*hclsyntax.Body)
	add := func(name string, v cty.Value) {
		if s, err := convert.Convert(v, cty.String); err == nil && !s.IsNull() && s.IsKnown() {
			found[name] = s.AsString()
		}
	}
	walk = func(b *hclsyntax.Body) {
		for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
			v, diags := b.Attributes[name].Expr.Value(ctx)
			switch {
			case diags.HasErrors():
			case v.Type().IsObjectType():
				for k, v := range v.AsValueMap() {
					add(k, v)
				}
			default:
				add(name, v)
			}
		}
		for _, nested := range b.Blocks {
			if nested.Type != "dynamic" && nested.Type != "env" {
				walk(nested.Body)
			}
		}
	}
	r := m.resources[resource].Body
	walk(r)
	for _, own := range []string{"location", "count", "deletion_protection"} {
		delete(found, own)
	}
	return found
}

// TestTerraformReadme holds the tables of variables, outputs and examples.
func TestTerraformReadme(t *testing.T) {
	m := parseModule(t)
	text := func(b *hclsyntax.Block, name string) string {
		v, diags := b.Body.Attributes[name].Expr.Value(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return v.AsString()
	}
	var table strings.Builder
	table.WriteString("| variable | default | what it is |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(m.variables)) {
		v, def := m.variables[name], "required"
		if a := v.Body.Attributes["default"]; a != nil {
			r := a.Expr.Range()
			source, err := os.ReadFile(filepath.Join(root, moduleDir, r.Filename))
			if err != nil {
				t.Fatal(err)
			}
			def = "`" + string(r.SliceBytes(source)) + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, def, text(v, "description"))
	}
	hold(t, moduleDir+"/README.md", "variables", table.String())

	table.Reset()
	table.WriteString("| output | what it is |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(m.outputs)) {
		fmt.Fprintf(&table, "| `%s` | %s |\n", name, text(m.outputs[name], "description"))
	}
	hold(t, moduleDir+"/README.md", "outputs", table.String())
}

// TestTerraformFormat runs terraform fmt where there is a terraform.
func TestTerraformFormat(t *testing.T) {
	t.Parallel()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("no terraform here")
	}
	cmd := exec.CommandContext(t.Context(), terraform, "fmt", "-check", "-diff", "-recursive")
	cmd.Dir = filepath.Join(root, moduleDir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CHECKPOINT_DISABLE=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
