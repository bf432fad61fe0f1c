"""All that gateway and workers share about jobs: specs, plans, ids, object layout, states, task names."""
