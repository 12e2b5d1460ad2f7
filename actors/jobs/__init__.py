"""What is done in the background, job by job: queues, their schedule, and the workers that run them."""
