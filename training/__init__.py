"""Training of the AuraLink speech codec: data cache, network, quantiser, losses, export, evaluation."""
