// Package recipes has the code of docs/recipes.md, one file a recipe, so that
// it compiles and its tests run it. All of it stands after obs.Init, which sets
// OpenTelemetry's globals and slog's default.
package recipes
