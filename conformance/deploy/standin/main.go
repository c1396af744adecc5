// Command standin takes the place of the Terraform provider hashicorp/google
// where no registry can be reached: it has the schema of testdata/provider.json,
// so that Terraform itself can validate and plan deploy/terraform, and no cloud.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func main() {
	if err := serve(os.Getenv("STANDIN_SCHEMA")); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func serve(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var resources map[string]resource
	if err := json.Unmarshal(text, &resources); err != nil {
		return err
	}
	p := provider{schemas: map[string]*tfprotov5.Schema{}}
	for name, r := range resources {
		b, err := r.block()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, name := range r.Computed {
			b.Attributes = append(b.Attributes, &tfprotov5.SchemaAttribute{Name: name, Type: tftypes.DynamicPseudoType, Computed: true})
		}
		p.schemas[name] = &tfprotov5.Schema{Block: b}
	}
	return tf5server.Serve("registry.terraform.io/hashicorp/google", func() tfprotov5.ProviderServer { return p })
}

// A resource is one of testdata/provider.json, or a block within one.
type resource struct {
	Attributes map[string]struct {
		Required bool
		Type     string
	}
	Blocks           map[string]resource
	Computed         []string
	Single, Required bool
}

func (r resource) block() (*tfprotov5.SchemaBlock, error) {
	types := map[string]tftypes.Type{
		"string": tftypes.String, "number": tftypes.Number, "boolean": tftypes.Bool,
		"stringMap": tftypes.Map{ElementType: tftypes.String}, "stringList": tftypes.List{ElementType: tftypes.String},
	}
	b := &tfprotov5.SchemaBlock{}
	for name, a := range r.Attributes {
		writeOnly := name == "secret_data_wo"
		t := types[a.Type]
		if t == nil {
			return nil, fmt.Errorf("%s: type %s", name, a.Type)
		}
		b.Attributes = append(b.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: t, Required: a.Required, Optional: !a.Required,
			Computed:  !a.Required && !writeOnly, // the schema does not say: what is not set may be known later
			WriteOnly: writeOnly,
		})
	}
	for name, nested := range r.Blocks {
		inner, err := nested.block()
		if err != nil {
			return nil, err
		}
		n := &tfprotov5.SchemaNestedBlock{TypeName: name, Block: inner, Nesting: tfprotov5.SchemaNestedBlockNestingModeList}
		switch {
		case name == "timeouts":
			n.Nesting = tfprotov5.SchemaNestedBlockNestingModeSingle
		case nested.Single:
			n.MaxItems = 1
		}
		if nested.Required {
			n.MinItems = 1
		}
		b.BlockTypes = append(b.BlockTypes, n)
	}
	return b, nil
}

// provider answers what validate and plan ask. Terraform asks nothing else.
type provider struct {
	tfprotov5.ProviderServer
	schemas map[string]*tfprotov5.Schema
}

func (p provider) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	own := &tfprotov5.SchemaBlock{}
	for _, name := range []string{"project", "region"} {
		own.Attributes = append(own.Attributes, &tfprotov5.SchemaAttribute{Name: name, Type: tftypes.String, Optional: true})
	}
	return &tfprotov5.GetProviderSchemaResponse{
		Provider: &tfprotov5.Schema{Block: own}, ResourceSchemas: p.schemas,
		ServerCapabilities: &tfprotov5.ServerCapabilities{GetProviderSchemaOptional: false},
	}, nil
}

func (p provider) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (p provider) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (p provider) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (p provider) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

// PlanResourceChange plans a new resource: what is not set is known after it
// has been made.
func (p provider) PlanResourceChange(_ context.Context, r *tfprotov5.PlanResourceChangeRequest) (*tfprotov5.PlanResourceChangeResponse, error) {
	schema := p.schemas[r.TypeName]
	proposed, err := r.ProposedNewState.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, err
	}
	planned, err := tftypes.Transform(proposed, func(at *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
		a := attribute(schema.Block, at)
		switch {
		case a != nil && a.WriteOnly: // of which a plan knows nothing
			return tftypes.NewValue(v.Type(), nil), nil
		case a != nil && a.Computed && v.IsNull():
			return tftypes.NewValue(v.Type(), tftypes.UnknownValue), nil
		}
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	state, err := tfprotov5.NewDynamicValue(schema.ValueType(), planned)
	if err != nil {
		return nil, err
	}
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: &state}, nil
}

// attribute returns the attribute that is there, nil if it is a block.
func attribute(b *tfprotov5.SchemaBlock, at *tftypes.AttributePath) *tfprotov5.SchemaAttribute {
	for _, step := range at.Steps() {
		name, isName := step.(tftypes.AttributeName)
		if !isName {
			continue // of a list of blocks
		}
		for _, a := range b.Attributes {
			if a.Name == string(name) {
				return a
			}
		}
		for _, n := range b.BlockTypes {
			if n.TypeName == string(name) {
				b = n.Block
				break
			}
		}
	}
	return nil
}
